"""Two models on one symbol of one account, at the stand-in broker: each has its share, and none trades with itself."""

import multiprocessing
import os
import signal
from collections.abc import Callable
from decimal import Decimal

import pytest
from psycopg.errors import CheckViolation

from execution import ledger as ledger_module
from execution.brokers.alpaca import AlpacaBroker
from execution.ledger import Ledger
from execution.limits import Limits
from execution.session import Session
from tests.execution.agreement import assert_agree
from tests.execution.test_roster import _drawn_up
from tests.execution.world import AFTER_CLOSE, AFTER_OPEN, LongPackage, SignalPackage, rows, trading_days
from warehouse.connection import connect
from warehouse.errors import Stop

pytestmark = pytest.mark.database

DAYS = trading_days()
CLOSES = Limits(closes_retired=True)
D = Decimal


@pytest.fixture
def models(nobody_else, warehouse) -> tuple[LongPackage, LongPackage]:
    """Two that trade ALPHA: one follows the signal, the other the noise."""
    pair = (
        LongPackage(model_id="one-00000000", symbols=("ALPHA",)),
        LongPackage(model_id="two-00000000", symbols=("ALPHA",), follows="noise"),
    )
    for model in pair:
        warehouse.enter_state(model.model_id, "paper")
    return pair


def _close(exchange, warehouse, number: int, one: float, two: float) -> None:
    exchange.advance(DAYS[number].closes + AFTER_CLOSE)
    warehouse.publish(DAYS[number], {"ALPHA": one}, noise={"ALPHA": two})


def _open(exchange, session: Session, number: int) -> None:
    exchange.advance(DAYS[number].opens + AFTER_OPEN)
    assert session.settle(timeout=10) == ()


def _shares(account: str) -> dict[str | None, Decimal]:
    found = rows("select model_id, amount from ledger.shares where account_id = %s and amount <> 0", account)
    return dict(found)


def _crosses(account: str) -> list[tuple]:
    return rows(
        "select seller, buyer, quantity, price from ledger.crosses where account_id = %s order by cross_id", account
    )


def _sent(exchange, since: int) -> list[tuple[str, Decimal]]:
    return [(order["side"], D(order["qty"])) for order in exchange.book()["orders"][since:]]


def test_two_models_on_one_symbol_over_several_bars(exchange, warehouse, models):
    """Both buy; one hands over what the other wants; one is retired, and its share alone is closed."""
    one, two = models
    account = exchange.book()["account_id"]
    _close(exchange, warehouse, 0, 0.6, 0.4)
    with Session.open(models, exchange.broker(), limits=CLOSES) as session:
        step = session.decide()
        assert [order.side for order in step.sent] == ["buy", "buy"]
        bought = {decision.model_id: order.quantity for decision, order in zip(step.decisions, step.sent, strict=True)}
        assert bought[one.model_id] > bought[two.model_id] > 0
        assert session.decide().sent == ()
        _open(exchange, session, 1)
    assert _shares(account) == bought
    assert_agree(exchange.book())

    _close(exchange, warehouse, 1, 0.0, 0.6)
    with Session.open(models, exchange.broker(), limits=CLOSES) as session:
        before = len(exchange.book()["orders"])
        step = session.decide()
        [(seller, buyer, passed, price)] = _crosses(account)
        assert (seller, buyer, price) == (one.model_id, two.model_id, D(str(DAYS[1].prices["ALPHA"][1])))
        assert 0 < passed < bought[one.model_id]
        # what the other does not want is sold, and nothing is bought
        assert _sent(exchange, before) == [("sell", bought[one.model_id] - passed)]
        assert _shares(account) == {
            one.model_id: bought[one.model_id] - passed,
            two.model_id: bought[two.model_id] + passed,
        }
        assert session.decide().sent == ()
        _open(exchange, session, 2)
    held = _shares(account)
    assert held == {two.model_id: bought[two.model_id] + passed}
    assert_agree(exchange.book())

    _close(exchange, warehouse, 2, 0.5, 0.6)
    with Session.open(models, exchange.broker(), limits=CLOSES) as session:
        assert [order.side for order in session.decide().sent] == ["buy"]
        _open(exchange, session, 3)
    held = _shares(account)
    assert held.keys() == {one.model_id, two.model_id}
    warehouse.enter_state(one.model_id, "retired")
    _close(exchange, warehouse, 3, 0.5, 0.6)
    with Session.open((two,), exchange.broker(), limits=CLOSES) as session:
        before = len(exchange.book()["orders"])
        session.decide()
        assert _sent(exchange, before) == [("sell", held[one.model_id])]
        _open(exchange, session, 4)
    assert _shares(account) == {two.model_id: held[two.model_id]}
    assert rows("select act, model_id from ledger.retirements where account_id = %s", account) == [
        ("close", one.model_id)
    ]
    # what was closed was not the other's: it is still where it was traded to
    with Ledger.view(account) as ledger:
        assert ledger.aimed_at([(two.model_id, "ALPHA", DAYS[5].opens)]) == {(two.model_id, "ALPHA"): 0.6}
    assert_agree(exchange.book())


def test_what_passed_on_a_bar_that_is_revised_is_decided_again(exchange, warehouse, models):
    """Its seller has no order to take back: it wants to keep now what passed, and the buyer wants nothing."""
    one, two = models
    account = exchange.book()["account_id"]
    _close(exchange, warehouse, 0, 0.6, 0.0)
    with Session.open(models, exchange.broker(), limits=CLOSES) as session:
        session.decide()
        _open(exchange, session, 1)
    held = _shares(account)[one.model_id]
    _close(exchange, warehouse, 1, 0.0, 0.9)
    with Session.open(models, exchange.broker(), limits=CLOSES) as session:
        step = session.decide()
        assert [cross.quantity for cross in step.crosses] == [held]
        assert [f"from {one.model_id} to {two.model_id}" in words for words in step.passed()] == [True]
        assert len(step.sent) == 1
        warehouse.change("update features.features_1d set signal = 0.6, noise = 0.0 where signal = 0.0")
        step = session.decide()
        assert {(decision.model_id, decision.attempt) for decision in step.decisions} == {
            (one.model_id, 2),
            (two.model_id, 2),
        }
        assert [f"from {two.model_id} to {one.model_id}" in words for words in step.passed()] == [True]
        _open(exchange, session, 2)
    assert _shares(account).keys() == {one.model_id}
    assert_agree(exchange.book())


def test_a_retired_models_share_goes_to_who_took_its_place(exchange, warehouse, models):
    one, two = models
    account = exchange.book()["account_id"]
    _close(exchange, warehouse, 0, 0.6, 0.4)
    with Session.open(models, exchange.broker(), limits=CLOSES) as session:
        session.decide()
        _open(exchange, session, 1)
    held = _shares(account)
    warehouse.enter_state(one.model_id, "retired")
    heir = LongPackage(model_id="one-11111111", symbols=("ALPHA",))
    warehouse.enter_state(heir.model_id, "paper")
    _close(exchange, warehouse, 1, 0.6, 0.4)
    with Session.open((two, heir), exchange.broker(), limits=CLOSES) as session:
        session.decide()
        shares = _shares(account)
        assert (shares[heir.model_id], shares[two.model_id]) == (held[one.model_id], held[two.model_id])
    assert rows("select act, successor from ledger.retirements where account_id = %s", account) == [
        ("hand_over", heir.model_id)
    ]
    # who traded beside it all along has a share of its own
    warehouse.enter_state(heir.model_id, "retired")
    with connect("executor") as executor, pytest.raises(CheckViolation, match="does not trade it in its place"):
        executor.execute(
            "insert into ledger.retirements (account_id, model_id, symbol, act, successor, quantity, price,"
            " broker_time, reason) values (%s, %s, 'ALPHA', 'hand_over', %s, %s, 100, now(), 'x')",
            (account, heir.model_id, two.model_id, held[one.model_id]),
        )


def test_who_takes_a_place_waits_for_the_order_that_the_retired_left_open(exchange, warehouse, models):
    """Otherwise it buys what it is about to be handed over."""
    one, _ = models
    account = exchange.book()["account_id"]
    _close(exchange, warehouse, 0, 0.4, 0.4)
    with Session.open((one,), exchange.broker(), limits=CLOSES) as session:
        [ordered] = session.decide().sent
    warehouse.enter_state(one.model_id, "retired")
    heir = LongPackage(model_id="one-22222222", symbols=("ALPHA",))
    warehouse.enter_state(heir.model_id, "paper")
    with Session.open((heir,), exchange.broker(), limits=CLOSES) as session:
        step = session.decide()
        assert step.sent == ()
        assert step.refused[0].reasons[0].startswith(f"NoOrderInFlight: order {ordered.client_order_id}")
        _open(exchange, session, 1)
    _close(exchange, warehouse, 1, 0.4, 0.4)
    with Session.open((heir,), exchange.broker(), limits=CLOSES) as session:
        session.decide()
    assert _shares(account) == {heir.model_id: ordered.quantity}
    assert_agree(exchange.book())


def _about_to_cross(exchange, warehouse, models) -> str:
    """One model holds, and the next bar has the other take over from it; returns the account."""
    _close(exchange, warehouse, 0, 0.6, 0.0)
    with Session.open(models, exchange.broker(), limits=CLOSES) as session:
        session.decide()
        _open(exchange, session, 1)
    _close(exchange, warehouse, 1, 0.2, 0.9)
    return exchange.book()["account_id"]


def _dies(session: Callable, exchange, models) -> None:
    process = multiprocessing.get_context("fork").Process(target=session, args=(exchange, models))
    process.start()
    process.join(60)
    assert process.exitcode == -signal.SIGKILL


def _killed(exchange, models: tuple) -> None:
    class Deadly(AlpacaBroker):
        def submit(self, request):
            os.kill(os.getpid(), signal.SIGKILL)

    with Session.open(models, exchange.broker(Deadly), limits=CLOSES) as session:
        session.decide()


def test_who_is_killed_between_cross_and_order_leaves_both(exchange, warehouse, models):
    account = _about_to_cross(exchange, warehouse, models)
    _dies(_killed, exchange, models)
    [(*_, passed, _)] = _crosses(account)
    shares = _shares(account)
    assert len(exchange.book()["orders"]) == 1
    with Session.open(models, exchange.broker(), limits=CLOSES) as session:
        [sent] = session.decide().sent
        assert sent.side == "buy"
        assert [row[2] for row in _crosses(account)] == [passed]
        assert _shares(account) == shares
        _open(exchange, session, 2)
    one, two = (model.model_id for model in models)
    assert _shares(account) == {one: shares[one], two: passed + sent.quantity}
    # what passed was carried out, and the buyer has it since then
    [(at,)] = rows("select broker_time from ledger.crosses where account_id = %s", account)
    with Ledger.view(account) as ledger:
        aims = ledger.aimed_at([(name, "ALPHA", DAYS[2].opens) for name in (one, two)])
        assert aims == {(one, "ALPHA"): 0.2, (two, "ALPHA"): 0.9}
        assert ledger.entries({(two, "ALPHA"): DAYS[1].opens})[two, "ALPHA"].filled_at == at
    assert_agree(exchange.book())


def _killed_at_the_cross(exchange, models) -> None:
    insert_all = ledger_module.insert_all

    def deadly(cursor, table, rows) -> None:
        if table == "crosses":
            os.kill(os.getpid(), signal.SIGKILL)
        insert_all(cursor, table, rows)

    ledger_module.insert_all = deadly
    with Session.open(models, exchange.broker(), limits=CLOSES) as session:
        session.decide()


def test_who_is_killed_before_the_cross_has_decided_nothing(exchange, warehouse, models):
    """What passes is written with the decisions that want it: one without the other would move no share for ever."""
    account = _about_to_cross(exchange, warehouse, models)
    decided = rows("select count(*) from ledger.decisions where account_id = %s", account)
    _dies(_killed_at_the_cross, exchange, models)
    assert rows("select count(*) from ledger.decisions where account_id = %s", account) == decided
    with Session.open(models, exchange.broker(), limits=CLOSES) as session:
        [sent] = session.decide().sent
        [(*_, passed, _)] = _crosses(account)
        _open(exchange, session, 2)
    two = models[1].model_id
    assert _shares(account)[two] == passed + sent.quantity
    assert_agree(exchange.book())


def test_what_may_be_short_stands_beside_nobody(exchange, models):
    short = SignalPackage(model_id="short-00000000", symbols=("ALPHA",))
    words = "model one-00000000 trades ALPHA already, and short-00000000 may be short, and shares of one position"
    with pytest.raises(Stop, match=words):
        Session.open((models[0], short), exchange.broker())
    found = _drawn_up(*models, short)
    assert found.packages == {"alpaca": models}
    assert [words in one.reason for one in found.aside] == [True]
    hourly = LongPackage(model_id="hourly-00000000", symbols=("ALPHA",), timeframe="1h")
    assert "they decide by 1d and 1h bars" in _drawn_up(*models, hourly).aside[0].reason
