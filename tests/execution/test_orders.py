"""An order's identity, and a state that does not depend on the order in which reports arrive."""

import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from execution.orders import Contradiction, Order, OrderStatus, Side, advance, client_order_id, restate

BAR = datetime(2012, 10, 1, 13, 30, tzinfo=UTC)
NAMES = st.text(min_size=1, max_size=12)
QUANTITY = Decimal(10)


def _order(**changes) -> Order:
    return Order(**{"client_order_id": "tb-1", "symbol": "AAPL", "side": Side.BUY, "quantity": QUANTITY, **changes})


@st.composite
def life_stories(draw) -> list[tuple[OrderStatus, Decimal]]:
    """The reports of one order's true life, in the order in which they happened."""
    steps = sorted(draw(st.sets(st.integers(1, 9), max_size=4)))
    story = [(OrderStatus.ACCEPTED, Decimal(0))]
    story += [(OrderStatus.PARTIALLY_FILLED, Decimal(step)) for step in steps]
    filled = story[-1][1]
    ends = [(OrderStatus.FILLED, QUANTITY), (OrderStatus.CANCELED, filled), (OrderStatus.EXPIRED, filled)]
    if not steps:
        ends.append((OrderStatus.REJECTED, Decimal(0)))
    return [*story, draw(st.sampled_from(ends))]


@given(NAMES, NAMES, NAMES, NAMES)
def test_ids_fit_every_broker_and_are_stable(account, model, symbol, timeframe):
    one = client_order_id(account, model, symbol, timeframe, BAR)
    assert re.fullmatch(r"[A-Za-z0-9_-]{1,36}", one)
    assert one == client_order_id(account, model, symbol, timeframe, BAR.astimezone(timezone(timedelta(hours=-5))))


@given(st.lists(st.tuples(NAMES, NAMES, NAMES, NAMES), min_size=2, max_size=2, unique=True))
def test_different_bars_and_models_have_different_ids(keys):
    assert len({client_order_id(*key, BAR) for key in keys}) == 2
    assert client_order_id(*keys[0], BAR) != client_order_id(*keys[0], BAR + timedelta(days=1))


def test_a_bar_without_a_time_zone_has_no_id():
    with pytest.raises(ValueError, match="no time zone"):
        client_order_id("a", "m", "AAPL", "1d", BAR.replace(tzinfo=None))


@given(life_stories(), st.data())
def test_reports_late_repeated_and_shuffled_lead_to_the_same_end(story, data):
    repeated = story + data.draw(st.lists(st.sampled_from(story)))
    order = _order()
    for status, filled in data.draw(st.permutations(repeated)):
        before = order
        order = advance(order, status, broker_order_id="b-1", filled_quantity=filled)
        assert order.filled_quantity >= before.filled_quantity
    status, filled = story[-1]
    assert (order.status, order.filled_quantity, order.broker_order_id) == (status, filled, "b-1")


ENDS = (OrderStatus.CANCELED, OrderStatus.EXPIRED, OrderStatus.REJECTED)


@st.composite
def contradictory_stories(draw) -> list[tuple[OrderStatus, Decimal]]:
    """Reports of a life with several ends, each told before, between and after executions."""
    steps = sorted(draw(st.sets(st.integers(1, 10), min_size=1, max_size=4)))
    story = [(OrderStatus.ACCEPTED, Decimal(0))]
    for step in [0, *steps]:
        open_status = OrderStatus.PARTIALLY_FILLED if step else OrderStatus.ACCEPTED
        story += [(status, Decimal(step)) for status in draw(st.lists(st.sampled_from([open_status, *ENDS])))]
    return [*story, (OrderStatus.PARTIALLY_FILLED, Decimal(steps[-1]))]


@pytest.mark.long
@given(contradictory_stories(), st.data())
def test_several_ends_in_any_order_lead_to_one_state(story, data):
    def told(reports):
        order = _order()
        for status, filled in reports:
            order = advance(order, status, broker_order_id="b-1", filled_quantity=filled)
        return order

    whole = told(story)
    assert told(data.draw(st.permutations(story))) == whole
    assert whole.filled_quantity == story[-1][1]
    assert (whole.status is OrderStatus.FILLED) == (whole.filled_quantity == QUANTITY)
    # and whatever was pushed, in the end it is what the broker's own list says
    stated = data.draw(st.sampled_from([OrderStatus.ACCEPTED, *ENDS]))
    listed = {"broker_order_id": "b-1", "filled_quantity": whole.filled_quantity, "quantity": QUANTITY}
    some = told(data.draw(st.lists(st.sampled_from(story))))
    assert restate(some, stated, **listed) == restate(replace(whole, broker_order_id="b-1"), stated, **listed)


@pytest.mark.parametrize("first", [OrderStatus.CANCELED, OrderStatus.EXPIRED, OrderStatus.REJECTED])
def test_an_end_changes_when_the_executions_add_up_after_all(first):
    ended = advance(_order(), first, broker_order_id="b-1")
    assert advance(ended, OrderStatus.PARTIALLY_FILLED, filled_quantity=QUANTITY).status is OrderStatus.FILLED
    assert restate(ended, OrderStatus.ACCEPTED, broker_order_id="b-1", filled_quantity=QUANTITY, quantity=QUANTITY) == (
        _order(status=OrderStatus.FILLED, broker_order_id="b-1", filled_quantity=QUANTITY)
    )


def test_only_a_falling_filled_quantity_contradicts_the_list():
    filled = _order(status=OrderStatus.FILLED, broker_order_id="b-1", filled_quantity=QUANTITY)
    listed = {"broker_order_id": "b-1", "quantity": QUANTITY}
    with pytest.raises(Contradiction, match="10 filled in the ledger, 9 at the broker"):
        restate(filled, OrderStatus.CANCELED, filled_quantity=Decimal(9), **listed)
    assert restate(filled, OrderStatus.CANCELED, filled_quantity=QUANTITY, **listed) is filled


def test_a_refusal_gives_way_to_any_sign_of_the_order():
    refused = advance(_order(), OrderStatus.REJECTED)
    assert advance(refused, OrderStatus.ACCEPTED, broker_order_id="b-1").status is OrderStatus.ACCEPTED


@given(life_stories())
def test_a_repeated_report_returns_the_same_object(story):
    order = _order()
    for status, filled in story:
        order = advance(order, status, broker_order_id="b-1", filled_quantity=filled)
        assert advance(order, status, broker_order_id="b-1", filled_quantity=filled) is order


def test_an_unknown_outcome_never_undoes_what_is_known():
    accepted = advance(_order(), OrderStatus.ACCEPTED, broker_order_id="b-1")
    assert advance(accepted, OrderStatus.UNKNOWN) is accepted


def test_an_order_given_up_as_not_sent_is_followed_when_it_arrives_after_all():
    given_up = advance(advance(_order(), OrderStatus.UNKNOWN), OrderStatus.NOT_SENT)
    assert given_up.status.is_terminal
    assert advance(given_up, OrderStatus.FILLED, filled_quantity=QUANTITY).status is OrderStatus.FILLED


@pytest.mark.parametrize(
    ("known", "status", "filled", "message"),
    [
        ({}, OrderStatus.PARTIALLY_FILLED, 11, "is for 10"),
        ({}, OrderStatus.FILLED, 9, "calls it filled at 9"),
        ({"broker_order_id": "b-2"}, OrderStatus.ACCEPTED, 0, "a report says b-1"),
        ({}, OrderStatus.ACCEPTED, -1, "negative"),
    ],
)
def test_impossible_reports_are_refused(known, status, filled, message):
    with pytest.raises(Contradiction, match=message):
        advance(_order(**known), status, broker_order_id="b-1", filled_quantity=Decimal(filled))
