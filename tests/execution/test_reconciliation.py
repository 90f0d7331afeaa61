"""Two accounts of one history: whatever is lost is repaired, whatever is changed is found."""

from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from decimal import Decimal
from functools import partial

from hypothesis import assume, given
from hypothesis import strategies as st

from execution.adoption import Adopted, Kind
from execution.brokers.base import (
    AccountSnapshot,
    Activity,
    ActivityKind,
    BrokerOrder,
    BrokerPosition,
    BrokerSnapshot,
    Fill,
    execution_id,
)
from execution.brokers.replacements import joined
from execution.comparison import Comparison, LedgerSnapshot, compare
from execution.findings import (
    ActivityDiffers,
    ActivityUnknownToBroker,
    AwaitingBroker,
    CashDiffers,
    FillDiffers,
    FilledQuantityDiffers,
    FillUnknownToBroker,
    ForeignFill,
    ForeignOrder,
    MissingActivity,
    MissingFill,
    OrderDiffers,
    OrderMoved,
    OrderUnknownToBroker,
    PositionDiffers,
    RecordedFill,
    as_json,
)
from execution.orders import Order, OrderStatus, Side

NOON = datetime(2012, 10, 1, 16, tzinfo=UTC)
ZERO = Decimal(0)
ONE = Decimal(1)


@dataclass(frozen=True)
class History:
    """What really happened, as the broker would tell it."""

    orders: tuple[BrokerOrder, ...]
    fills: tuple[Fill, ...]
    activities: tuple[Activity, ...]

    def broker(self) -> BrokerSnapshot:
        held, cash = defaultdict(lambda: ZERO), ZERO
        for fill in self.fills:
            held[fill.symbol] += fill.side.sign * fill.quantity
            cash -= fill.side.sign * fill.quantity * fill.price
        for activity in self.activities:
            cash += activity.cash
            if activity.symbol:
                held[activity.symbol] += activity.quantity
        positions = tuple(BrokerPosition(symbol, quantity) for symbol, quantity in held.items() if quantity)
        account = AccountSnapshot("a-1", cash, cash, cash, shorting_enabled=True)
        return BrokerSnapshot(account, None, self.orders, self.fills, self.activities, positions)


def _ledger(history: History) -> LedgerSnapshot:
    """A ledger that has heard everything."""
    ids = {order.broker_order_id: order.client_order_id for order in history.orders}
    orders = {
        o.client_order_id: Order(
            o.client_order_id, o.symbol, o.side, o.quantity, o.status, o.broker_order_id, o.filled_quantity
        )
        for o in history.orders
    }
    fills = [
        RecordedFill(f.execution_id, ids[f.broker_order_id], f.symbol, f.side, f.quantity, f.price, f.filled_at)
        for f in history.fills
    ]
    return _add_up(LedgerSnapshot(orders=orders), fills, list(history.activities))


def _add_up(ledger: LedgerSnapshot, fills: list[RecordedFill], activities: list[Activity]) -> LedgerSnapshot:
    """The ledger with these fills and activities, its sums taken anew (as the database's views do)."""
    held, filled, cash = defaultdict(lambda: ZERO), defaultdict(lambda: ZERO), ZERO
    for fill in fills:
        held[fill.symbol] += fill.side.sign * fill.quantity
        filled[fill.client_order_id] += fill.quantity
        cash -= fill.side.sign * fill.quantity * fill.price
    for activity in activities:
        cash += activity.cash
        if activity.symbol:
            held[activity.symbol] += activity.quantity
    return replace(
        ledger,
        fills={fill.execution_id: fill for fill in fills},
        filled=dict(filled),
        activities={activity.activity_id: activity for activity in activities},
        positions={symbol: quantity for symbol, quantity in held.items() if quantity},
        cash=cash,
    )


def _repaired(ledger: LedgerSnapshot, comparison: Comparison) -> LedgerSnapshot:
    orders, fills, activities = dict(ledger.orders), list(ledger.fills.values()), list(ledger.activities.values())
    for repair in comparison.repairs:
        match repair:
            case MissingFill(name, f):
                fills.append(RecordedFill(f.execution_id, name, f.symbol, f.side, f.quantity, f.price, f.filled_at))
            case MissingActivity(activity):
                activities.append(activity)
            case OrderMoved(order=order):
                orders[order.client_order_id] = order
    return _add_up(replace(ledger, orders=orders), fills, activities)


@st.composite
def histories(draw, min_orders: int = 0) -> History:
    """A few orders of two symbols, each filled in up to three executions, between bookings of every kind."""
    orders, fills = [], []
    for number in range(draw(st.integers(min_orders, 4))):
        symbol, side = draw(st.sampled_from(["AAPL", "IBM"])), draw(st.sampled_from(Side))
        executions = draw(st.lists(st.integers(1, 50), max_size=3))
        filled = sum(executions)
        remainder = draw(st.integers(0 if filled else 1, 20))
        if remainder == 0:
            status = OrderStatus.FILLED
        else:
            open_status = OrderStatus.PARTIALLY_FILLED if filled else OrderStatus.ACCEPTED
            status = draw(st.sampled_from([open_status, OrderStatus.CANCELED, OrderStatus.EXPIRED]))
        quantity = Decimal(filled + remainder)
        name = f"b-{number}"
        orders.append(BrokerOrder(name, f"tb-{number}", symbol, side, quantity, status, Decimal(filled), NOON))
        cumulative = ZERO
        for units in executions:
            cumulative += units
            price = draw(st.decimals("1", "900", places=4))
            fills.append(
                Fill(execution_id(name, cumulative), name, symbol, side, Decimal(units), price, NOON, cumulative)
            )
    activities = [Activity("deposit", ActivityKind.DEPOSIT, None, ZERO, Decimal(100_000), NOON)]
    for number, kind in enumerate(draw(st.lists(st.sampled_from(["dividend", "fee", "split"]), max_size=3))):
        cash = ZERO if kind == "split" else draw(st.decimals("-50", "50", places=2))
        units = draw(st.integers(1, 100)) if kind == "split" else 0
        activities.append(Activity(f"x-{number}", ActivityKind(kind), "AAPL", Decimal(units), cash, NOON))
    return History(tuple(orders), tuple(fills), tuple(activities))


@given(histories())
def test_a_ledger_that_heard_everything_agrees(history):
    assert compare(_ledger(history), history.broker()) == Comparison()
    assert compare(_ledger(history), history.broker()).outcome == "agreed"


@given(histories(), st.data())
def test_whatever_was_not_heard_is_repaired_and_then_agrees(history, data):
    whole = _ledger(history)
    orders = {
        name: data.draw(st.sampled_from([order, replace(order, status=OrderStatus.UNKNOWN, filled_quantity=ZERO)]))
        for name, order in whole.orders.items()
    }
    fills = [fill for fill in whole.fills.values() if data.draw(st.booleans())]
    activities = [activity for activity in whole.activities.values() if data.draw(st.booleans())]
    deaf = _add_up(replace(whole, orders=orders), fills, activities)

    comparison = compare(deaf, history.broker())
    assert comparison.discrepancies == ()
    assert comparison.awaiting == ()
    assert compare(_repaired(deaf, comparison), history.broker()) == Comparison()


@given(histories(min_orders=1), st.data())
def test_every_change_of_one_thing_is_found_as_what_it_is(history, data):
    broker = history.broker()
    kind, corrupt = data.draw(st.sampled_from([*_of_sums(broker), *_of_orders(broker), *_of_bookings(broker)]))
    comparison = compare(_ledger(history), corrupt())
    assert comparison.outcome == "discrepancy"
    assert kind in {type(finding) for finding in comparison.discrepancies}
    assert all(as_json(finding)["text"] for finding in comparison.discrepancies)


Corruptions = Iterator[tuple[type, Callable[[], BrokerSnapshot]]]


def _of_sums(broker: BrokerSnapshot) -> Corruptions:
    richer = replace(broker.account, cash=broker.account.cash + Decimal("0.01"))
    yield CashDiffers, partial(replace, broker, account=richer)
    yield PositionDiffers, partial(replace, broker, positions=(*broker.positions, BrokerPosition("GOOG", ONE)))
    for held in broker.positions:
        yield PositionDiffers, partial(_swap, broker, "positions", held, quantity=held.quantity + 1)
        yield PositionDiffers, partial(_without, broker, "positions", held)


def _of_orders(broker: BrokerSnapshot) -> Corruptions:
    for order in broker.orders:
        change = partial(_swap, broker, "orders", order)
        yield OrderDiffers, partial(change, quantity=order.quantity + 1)
        yield OrderDiffers, partial(change, quantity=None)
        yield OrderDiffers, partial(change, symbol="GOOG")
        yield OrderDiffers, partial(change, side=Side.BUY if order.side is Side.SELL else Side.SELL)
        yield OrderDiffers, partial(change, broker_order_id="b-99")
        yield FilledQuantityDiffers, partial(change, filled_quantity=order.filled_quantity - 1)
        yield FilledQuantityDiffers, partial(change, filled_quantity=order.filled_quantity + 1)
        yield ForeignOrder, partial(change, client_order_id="somebody-else")
        yield OrderUnknownToBroker, partial(_without, broker, "orders", order)
        twin = replace(order, broker_order_id="b-98")
        yield OrderDiffers, partial(replace, broker, orders=(*broker.orders, twin))


def _of_bookings(broker: BrokerSnapshot) -> Corruptions:
    for fill in broker.fills:
        change = partial(_swap, broker, "fills", fill)
        yield FillDiffers, partial(change, price=fill.price + Decimal("0.0001"))
        yield FillDiffers, partial(change, quantity=fill.quantity + 1)
        yield FillDiffers, partial(change, symbol="GOOG")
        yield ForeignFill, partial(change, broker_order_id="b-99")
        yield FillUnknownToBroker, partial(_without, broker, "fills", fill)
        twin = replace(fill, price=fill.price + 1)
        yield FillDiffers, partial(replace, broker, fills=(*broker.fills, twin))
    for activity in broker.activities:
        change = partial(_swap, broker, "activities", activity)
        yield ActivityDiffers, partial(change, cash=activity.cash + Decimal("0.01"))
        yield ActivityDiffers, partial(change, symbol="GOOG")
        yield ActivityDiffers, partial(change, kind=ActivityKind.OTHER)
        yield ActivityUnknownToBroker, partial(_without, broker, "activities", activity)
    stray = _stray_fill(broker.orders[0])
    yield FilledQuantityDiffers, partial(replace, broker, fills=(*broker.fills, stray))


def _swap(broker: BrokerSnapshot, name: str, item, **changes) -> BrokerSnapshot:
    return replace(broker, **{name: tuple(replace(i, **changes) if i is item else i for i in getattr(broker, name))})


def _without(broker: BrokerSnapshot, name: str, item) -> BrokerSnapshot:
    return replace(broker, **{name: tuple(i for i in getattr(broker, name) if i is not item)})


def _stray_fill(order: BrokerOrder) -> Fill:
    beyond = order.filled_quantity + 1
    name = order.broker_order_id
    return Fill(execution_id(name, beyond), name, order.symbol, order.side, ONE, Decimal(1), NOON, beyond)


@given(histories(min_orders=1))
def test_an_order_the_ledger_did_not_approve_is_foreign(history):
    stranger = history.orders[0]
    ledger = _ledger(history)
    orders = {name: order for name, order in ledger.orders.items() if name != stranger.client_order_id}
    found = compare(replace(ledger, orders=orders), history.broker()).discrepancies
    assert any(isinstance(finding, ForeignOrder) for finding in found)
    if stranger.filled_quantity:
        assert any(isinstance(finding, ForeignFill) for finding in found)


@given(histories(min_orders=1), st.data())
def test_the_brokers_list_is_the_last_word_on_an_end(history, data):
    """Whatever end the ledger was told of, what the list says is taken over, and the second look finds nothing."""
    whole = _ledger(history)
    ends = [status for status in OrderStatus if status.is_terminal or status is OrderStatus.ACCEPTED]
    orders = {
        name: replace(order, status=data.draw(st.sampled_from(ends)), filled_quantity=data.draw(_up_to(order)))
        for name, order in whole.orders.items()
    }
    comparison = compare(replace(whole, orders=orders), history.broker())
    assert comparison.discrepancies == ()
    assert {name: order.status for name, order in _repaired(whole, comparison).orders.items()} == {
        order.client_order_id: order.status for order in history.orders
    }
    assert compare(_repaired(whole, comparison), history.broker()) == Comparison()


def _up_to(order: Order) -> st.SearchStrategy[Decimal]:
    return st.integers(0, int(order.filled_quantity)).map(Decimal)


def _piece(name: str, status: OrderStatus, quantity: int, filled: int, **links: str) -> BrokerOrder:
    units = Decimal(quantity), status, Decimal(filled)
    return BrokerOrder(name, f"c-{name}", "AAPL", Side.BUY, *units, NOON, status.value, **links)


@given(st.lists(st.integers(0, 9), min_size=1, max_size=4), st.data())
def test_a_replaced_order_goes_on_in_what_replaced_it(executed, data):
    """However much each of a chain's orders filled, and whichever of them were listed, it is one order of ours."""
    names = [f"b-{number}" for number in range(len(executed))]
    pieces = []
    for number, filled in enumerate(executed):
        links = {"replaces": names[number - 1]} if number else {}
        last = number == len(executed) - 1
        status = OrderStatus.FILLED if last else OrderStatus.ACCEPTED
        links |= {} if last else {"replaced_by": names[number + 1]}
        pieces.append(_piece(names[number], status, filled if last else 20, filled, **links))
    known = {piece.broker_order_id: piece for piece in pieces}
    listed = data.draw(st.lists(st.sampled_from(pieces), min_size=1, unique=True))
    [whole] = joined(listed, known.get)
    assert (whole.broker_order_id, whole.client_order_id) == ("b-0", "c-b-0")
    assert (whole.filled_quantity, whole.quantity, whole.status) == (sum(executed), sum(executed), OrderStatus.FILLED)
    assert whole.continued_as == tuple(names[1:])


def test_an_order_replaced_by_one_that_cannot_be_found_stays_open_and_a_circle_ends():
    lost = _piece("b-0", OrderStatus.ACCEPTED, 9, 0, replaced_by="b-1")
    assert joined([lost], {}.get) == (lost,)
    circle = [lost, _piece("b-1", OrderStatus.ACCEPTED, 9, 0, replaces="b-0", replaced_by="b-0")]
    assert [order.continued_as for order in joined(circle, {}.get)] == [("b-1",)]


@given(st.permutations(["b-1", "b-2"]), st.integers(1, 9))
def test_fills_of_a_replacement_are_ours(order_of_reports, before):
    """4 filled, then the order was replaced and its successor filled the rest (and more than was ordered)."""
    ours = Order("tb-1", "AAPL", Side.BUY, Decimal(10), OrderStatus.PARTIALLY_FILLED, "b-1", Decimal(before))
    theirs = BrokerOrder(
        "b-1", "tb-1", "AAPL", Side.BUY, Decimal(20), OrderStatus.FILLED, Decimal(20), NOON, continued_as=("b-2",)
    )
    quantities = {"b-1": Decimal(before), "b-2": Decimal(20 - before)}
    fills = tuple(
        Fill(execution_id(name, units), name, "AAPL", Side.BUY, units, ONE, NOON, units)
        for name, units in ((name, quantities[name]) for name in order_of_reports)
    )
    broker = History((theirs,), fills, ()).broker()
    ledger = LedgerSnapshot(orders={"tb-1": ours})
    comparison = compare(ledger, broker)
    assert comparison.discrepancies == ()
    [moved] = [repair for repair in comparison.repairs if isinstance(repair, OrderMoved)]
    assert (moved.order.status, moved.continued_as) == (OrderStatus.FILLED, ("b-2",))
    assert compare(_repaired(ledger, comparison), broker) == Comparison()


@given(st.booleans())
def test_an_id_that_is_given_out_anew_names_our_order_no_more(is_listed):
    """After a reset a broker may begin to count again, and somebody trades by hand before anybody has adopted it."""
    ours = Order("tb-1", "AAPL", Side.BUY, Decimal(10), OrderStatus.FILLED, "b-1", Decimal(10))
    by_hand = BrokerOrder("b-1", "hand-1", "AAPL", Side.BUY, Decimal(7), OrderStatus.FILLED, Decimal(7), NOON)
    fill = Fill("e-new", "b-1", "AAPL", Side.BUY, Decimal(7), ONE, NOON, Decimal(7))
    broker = History((by_hand,) if is_listed else (), (fill,), ()).broker()
    comparison = compare(LedgerSnapshot(earlier={"b-1": ours}, filled={"tb-1": Decimal(10)}), broker)
    assert comparison.repairs == ()
    found = {type(finding) for finding in comparison.discrepancies}
    assert found >= ({ForeignOrder, ForeignFill} if is_listed else {FillDiffers})


def test_an_order_of_ours_under_the_id_of_another_waits_until_that_is_adopted():
    """The fill is of the order that is there; the ledger takes neither its state nor its id while the other has it."""
    before = Order("tb-1", "AAPL", Side.BUY, Decimal(10), OrderStatus.CANCELED, "b-1", ZERO)
    ours = Order("tb-2", "AAPL", Side.BUY, Decimal(7), OrderStatus.UNKNOWN)
    theirs = BrokerOrder("b-1", "tb-2", "AAPL", Side.BUY, Decimal(7), OrderStatus.FILLED, Decimal(7), NOON)
    fill = Fill("e-new", "b-1", "AAPL", Side.BUY, Decimal(7), ONE, NOON, Decimal(7))
    broker = History((theirs,), (fill,), ()).broker()
    for orders in ({"tb-2": ours}, {"tb-1": before, "tb-2": ours}):
        ledger = LedgerSnapshot(orders=orders, earlier={"b-1": before})
        comparison = compare(ledger, broker)
        lost = OrderUnknownToBroker("tb-1")
        assert comparison.discrepancies == (lost,)
        assert comparison.repairs == (MissingFill("tb-2", fill),)
        knows = replace(ledger, adopted=Adopted(frozenset({("OrderUnknownToBroker", str(lost))})))
        comparison = compare(knows, broker)
        assert comparison.discrepancies == ()
        moved = {repair.order.client_order_id for repair in comparison.repairs if isinstance(repair, OrderMoved)}
        assert moved == {"tb-2"}


def test_what_is_said_of_an_execution_is_not_said_of_an_order_with_its_id():
    """A broker that counts gives an order and an execution the same id."""
    order = BrokerOrder("X:2", "hand-1", "AAPL", Side.BUY, ONE, OrderStatus.FILLED, ONE, NOON)
    fill = Fill("X:3", "X:2", "AAPL", Side.BUY, ONE, Decimal(7), NOON, ONE)
    broker = History((order,), (fill,), ()).broker()
    of_an_execution, of_an_order = (Kind.EXECUTION, "X:2"), (Kind.ORDER, "X:2")
    found = [
        {type(finding) for finding in compare(LedgerSnapshot(adopted=adopted), broker).discrepancies}
        for adopted in (
            Adopted(before=frozenset({of_an_execution})),
            Adopted(subjects={of_an_execution: ()}),
            Adopted(before=frozenset({of_an_order})),
        )
    ]
    assert {ForeignOrder, ForeignFill} <= found[0]
    assert {ForeignOrder, ForeignFill} <= found[1]
    assert ForeignOrder not in found[2]


@given(st.integers(0, 10), st.lists(st.integers(1, 12), min_size=1, max_size=4))
def test_what_is_filled_beyond_the_order_is_no_repair(before, quantities):
    """The ledger takes no more than was ordered: the rest of what is reported is a difference."""
    ours = Order("tb-1", "AAPL", Side.BUY, Decimal(10), OrderStatus.PARTIALLY_FILLED, "b-1", Decimal(before))
    theirs = BrokerOrder("b-1", "tb-1", "AAPL", Side.BUY, Decimal(10), OrderStatus.FILLED, Decimal(10), NOON)
    fills = tuple(
        Fill(f"e-{number}", "b-1", "AAPL", Side.BUY, Decimal(units), ONE, NOON, Decimal(10))
        for number, units in enumerate(quantities)
    )
    ledger = LedgerSnapshot(orders={"tb-1": ours}, filled={"tb-1": Decimal(before)})
    comparison = compare(ledger, History((theirs,), fills, ()).broker())
    booked = sum(repair.fill.quantity for repair in comparison.repairs if isinstance(repair, MissingFill))
    refused = [found for found in comparison.discrepancies if isinstance(found, FillDiffers)]
    assert before + booked <= 10
    assert bool(refused) == (before + sum(quantities) > 10)


def _written_ahead(status: OrderStatus) -> LedgerSnapshot:
    order = Order("tb-9", "AAPL", Side.BUY, ONE, status, "b-9" if status is OrderStatus.ACCEPTED else None)
    return LedgerSnapshot(orders={"tb-9": order})


def test_an_order_without_an_answer_is_awaited_and_an_acknowledged_one_must_be_there():
    nothing = History((), (), ()).broker()
    for status in (OrderStatus.SUBMITTING, OrderStatus.UNKNOWN):
        comparison = compare(_written_ahead(status), nothing)
        assert comparison.awaiting == (AwaitingBroker("tb-9"),)
        assert comparison.outcome == "agreed"
    for status in (OrderStatus.REJECTED, OrderStatus.NOT_SENT):
        assert compare(_written_ahead(status), nothing) == Comparison()
    assert compare(_written_ahead(OrderStatus.ACCEPTED), nothing).discrepancies == (OrderUnknownToBroker("tb-9"),)


def test_an_order_given_up_as_not_sent_that_was_filled_after_all_is_adopted():
    done = BrokerOrder("b-9", "tb-9", "AAPL", Side.BUY, ONE, OrderStatus.FILLED, ONE, NOON)
    fill = Fill(execution_id("b-9", ONE), "b-9", "AAPL", Side.BUY, ONE, Decimal(7), NOON, ONE)
    broker = History((done,), (fill,), ()).broker()
    comparison = compare(_written_ahead(OrderStatus.NOT_SENT), broker)
    assert comparison.outcome == "repaired"
    assert {type(repair) for repair in comparison.repairs} == {OrderMoved, MissingFill}


def test_a_fill_the_broker_took_back_is_found():
    done = BrokerOrder("b-9", "tb-9", "AAPL", Side.BUY, ONE, OrderStatus.CANCELED, ZERO, NOON)
    recorded = RecordedFill("b-9:1", "tb-9", "AAPL", Side.BUY, ONE, Decimal(7), NOON)
    ledger = _add_up(_written_ahead(OrderStatus.ACCEPTED), [recorded], [])
    found = {type(finding) for finding in compare(ledger, History((done,), (), ()).broker()).discrepancies}
    assert {FillUnknownToBroker, FilledQuantityDiffers} <= found


def test_cash_stated_in_whole_cents_agrees_and_a_cent_does_not():
    ledger = LedgerSnapshot(cash=Decimal("10.0049"))
    agreeing, differing = (
        BrokerSnapshot(AccountSnapshot("a-1", cash, cash, cash, shorting_enabled=False), None)
        for cash in (Decimal("10.00"), Decimal("10.02"))
    )
    assert compare(ledger, agreeing).outcome == "agreed"
    assert compare(ledger, differing).outcome == "discrepancy"


@given(st.decimals(-99, 99, places=2), st.decimals(-99, 99, places=3), st.booleans())
def test_a_booking_that_is_canceled_leaves_nothing_whenever_that_is_learned(cash, units, was_booked):
    booked = Activity("x", ActivityKind.OTHER, "AAPL", units, cash, NOON, "JNLS")
    before = {"x": booked} if was_booked else {}
    moved = {"positions": {"AAPL": units}, "cash": cash} if was_booked else {}
    nothing = AccountSnapshot("a-1", ZERO, ZERO, ZERO, shorting_enabled=False)
    broker = BrokerSnapshot(nothing, None, activities=(replace(booked, is_canceled=True),))
    first = compare(LedgerSnapshot(activities=before, **moved), broker)
    assert (first.outcome, len(first.repairs)) == (("repaired", 1) if was_booked else ("agreed", 0))
    after = before | {repair.activity.activity_id: repair.activity for repair in first.repairs}
    assert compare(LedgerSnapshot(activities=after), broker).outcome == "agreed"
    assert sum(activity.cash for activity in after.values()) == 0


@given(st.decimals("0.000000001", "1000000", places=9), st.integers(0, 6))
def test_one_execution_has_one_id_however_its_quantity_is_written(cumulative, zeros):
    assume(cumulative > 0)
    assert execution_id("b", cumulative) == execution_id("b", Decimal(f"{cumulative:f}" + "0" * zeros))


def test_what_cannot_be_true_is_not_recorded_as_missing():
    """The ledger has heard nothing yet, so only the broker's own answer can show that something is wrong with it."""
    done = BrokerOrder("b-9", "tb-9", "AAPL", Side.BUY, ONE, OrderStatus.FILLED, ONE, NOON)
    fill = Fill("b-9:1", "b-9", "AAPL", Side.BUY, ONE, Decimal(7), NOON, ONE)
    ledger = _written_ahead(OrderStatus.SUBMITTING)
    two_orders = History((replace(done, broker_order_id="b-8"), done), (fill,), ())
    two_prices = History((done,), (replace(fill, price=Decimal(8)), fill), ())
    wrong_symbol = History((done,), (replace(fill, symbol="IBM"),), ())
    for history, reason in (
        (two_orders, "more than one order"),
        (two_prices, "cannot both be true"),
        (wrong_symbol, "its order is not"),
    ):
        found = compare(ledger, history.broker()).discrepancies
        assert reason in " ".join(str(finding) for finding in found)
