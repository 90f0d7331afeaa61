"""Limits in sessions: what each keeps in the ledger, what waits, and what halts."""

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from execution.brokers.base import Mode
from execution.ledger import Ledger
from execution.limits import Limits, Section
from execution.orders import Side
from execution.policy import TradingPolicy
from execution.roster import Roster
from execution.session import Session
from execution.sizing import affordable_quantity, order_quantity, target_quantity
from execution.validation.limits import Mark
from execution.validation.orders import order_rules
from flows import paper_trade, replay
from flows.attention import NeedsAttention
from models_registry.rebalancing import Rebalancing
from tests.execution.world import AFTER_CLOSE, AFTER_OPEN, KEY, SECRET, SPLIT_DAY, SignalPackage, rows, trading_days

pytestmark = pytest.mark.database

DAYS = trading_days()
D = Decimal


def _account(**values: str) -> Limits:
    return Limits(account=Section({name: D(value) for name, value in values.items()}))


def test_what_is_more_than_one_order_may_be_goes_in_parts(exchange, warehouse, package):
    limits = Limits(symbol=Section({}, {"ALPHA": {"max_quantity": D("250.5")}}))
    quantities = []
    with Session.open([package], exchange.broker(), limits=limits) as session:
        for number, weight in enumerate((0.4, 0.4, 0.0, 0.0)):
            warehouse.publish(DAYS[number], {"ALPHA": weight})
            exchange.advance(DAYS[number].closes + AFTER_CLOSE)
            quantities += [order.side.sign * order.quantity for order in session.decide().sent]
            exchange.advance(DAYS[number + 1].opens + AFTER_OPEN)
            session.settle(timeout=10)
    bought, rest, sold, last = quantities
    assert (bought, sold) == (250, -250)
    assert 0 < rest == -last < 250


@dataclass(frozen=True)
class BandedPackage(SignalPackage):
    """One that trades smaller changes than the policy would."""

    rebalancing: Rebalancing = field(default_factory=lambda: Rebalancing(band=0.0))


@pytest.mark.parametrize("kind", [SignalPackage, BandedPackage])
def test_every_verdict_is_kept_and_every_order_can_be_computed_again(exchange, warehouse, package, kind):
    package = kind(model_id=package.model_id)
    limits = _account(order_notional="45000", gross_exposure="2")
    account = None
    for number, weights in enumerate(({"ALPHA": 0.3, "BETA": 0.5}, {"ALPHA": 0.1}, {"ALPHA": 0.104, "BETA": 0.2}, {})):
        warehouse.publish(DAYS[number], weights)
        exchange.advance(DAYS[number].closes + AFTER_CLOSE)
        with Session.open([package], exchange.broker(), limits=limits) as session:
            session.decide()
            account = session.account_id
            exchange.advance(DAYS[number + 1].opens + AFTER_OPEN)
            session.settle(timeout=10)
    found = rows(
        "select intents.quantity, side, intents.verdict, refusals, inputs, verdicts, target_weight, reference_price"
        " from ledger.intents inner join ledger.sizings using (client_order_id)"
        " inner join ledger.decisions using (decision_id) where intents.account_id = %s order by written_at",
        account,
    )
    [(count,)] = rows("select count(*) from ledger.intents where account_id = %s", account)
    assert len(found) == count >= 4
    names = {type(rule).__name__ for rule in order_rules(TradingPolicy(), limits)}
    assert "refused" in {row[2] for row in found}
    for quantity, side, verdict, refused, inputs, said, weight, price in found:
        assert said.keys() == names
        assert [f"{rule}: {reason}" for rule, reason in said.items() if reason is not None] == refused
        assert (verdict == "approved") is not any(said.values())
        known = {name: None if value is None else D(value) for name, value in inputs.items()}
        assert known["price"] == price
        capital = known["equity"] * known["share"] * (1 - known["cash_buffer"])
        target = target_quantity(weight, capital, known["price"], known["step"])
        band = known["rebalance_band"] * capital / known["price"]
        again = order_quantity(target, known["held"], known["step"], band=band, closable=known["closable"])
        added = max(D(0), abs(known["held"] + again) - abs(known["held"]))
        if added:
            cut = affordable_quantity(abs(again), added, known["price"], known["buying_power"], known["step"])
            again = cut.copy_sign(again)
        assert (abs(again), "buy" if again > 0 else "sell") == (quantity, side)


def test_too_many_orders_a_minute_wait_and_are_not_refused(exchange, warehouse, package):
    warehouse.publish(DAYS[0], {"ALPHA": 0.2, "BETA": 0.2})
    with Session.open([package], exchange.broker(), limits=_account(orders_a_minute="1")) as session:
        first = session.decide()
        assert [order.symbol for order in first.sent] == ["ALPHA"]
        assert [(bar.symbol, bar.is_postponed) for bar in first.refused] == [("BETA", True)]
        assert session.decide().sent == ()
        exchange.advance(DAYS[0].closes + AFTER_CLOSE + timedelta(seconds=61))
        assert [order.symbol for order in session.decide().sent] == ["BETA"]
    assert rows("select verdict from ledger.intents where account_id = %s", session.account_id) == [("approved",)] * 2


@pytest.fixture
def one_a_minute(exchange, warehouse, package, tmp_path, monkeypatch):
    """Flows trade at the stand-in, and a file says one order per minute."""
    for name, value in (("KEY_ID", KEY), ("SECRET_KEY", SECRET)):
        monkeypatch.setenv(f"APCA_API_{name}", value)
    monkeypatch.setenv("APCA_API_BASE_URL", exchange.url)
    monkeypatch.setenv("APCA_API_STREAM_URL", exchange.stream_url)
    (tmp_path / "limits.yaml").write_text("account: {orders_a_minute: 1}")
    monkeypatch.setenv("TRUEBAR_LIMITS", str(tmp_path / "limits.yaml"))


def test_a_flow_comes_back_to_what_waited_for_the_minute(exchange, warehouse, package, one_a_minute, monkeypatch):
    now = DAYS[0].closes + AFTER_CLOSE
    warehouse.publish(DAYS[0], {"ALPHA": 0.2, "BETA": 0.2})
    waited = []
    monkeypatch.setattr(paper_trade.time, "sleep", waited.append)
    # the broker's time stands still: what still waits is told
    with pytest.raises(NeedsAttention, match="BETA is not decided by signal-00000000: OrdersAMinute"):
        paper_trade.decide.fn([package], "alpaca")
    assert 61 in waited
    exchange.advance(now + timedelta(seconds=61))
    assert paper_trade.decide.fn([package], "alpaca") == 1
    exchange.advance(DAYS[1].closes + AFTER_CLOSE)
    warehouse.publish(DAYS[1], {})
    monkeypatch.setattr(
        paper_trade.time,
        "sleep",
        lambda length: exchange.advance(DAYS[1].closes + AFTER_CLOSE + length * timedelta(seconds=1)),
    )
    assert paper_trade.decide.fn([package], "alpaca") == 2


def test_a_replay_comes_back_to_what_waited_for_the_minute(exchange, warehouse, package, one_a_minute, monkeypatch):
    landed = iter(DAYS)
    monkeypatch.setattr(replay, "land_newest", lambda *_: warehouse.publish(next(landed), {"ALPHA": 0.2, "BETA": 0.2}))
    models = Roster({"alpaca": (package,)})
    clock = replay.SteppedClock(f"{exchange.url}/sandbox/clock")
    assert replay.replay.fn(models, clock, DAYS[1].day, DAYS[0].day) == 2
    assert {order["symbol"] for order in exchange.book()["orders"]} == {"ALPHA", "BETA"}


def test_what_is_ordered_and_not_filled_is_an_exposure(exchange, warehouse, package):
    stale = "update features.freshness_1d set stale_from = %s where symbol = 'BETA'"
    warehouse.publish(DAYS[0], {"ALPHA": 0.5, "BETA": 0.4})
    warehouse.change(stale, DAYS[0].opens)
    with Session.open([package], exchange.broker(), limits=_account(gross_exposure="0.7")) as session:
        assert [order.symbol for order in session.decide().sent] == ["ALPHA"]
        warehouse.change(stale, None)
        [late] = session.decide().intents
        assert [refusal.partition(":")[0] for refusal in late.refusals] == ["GrossExposure"]
        assert late.verdicts["GrossExposure"].startswith("the gross exposure would be 0.8")
        # what closes a position frees nothing before it has filled
        exchange.advance(DAYS[1].opens + AFTER_OPEN)
        session.settle(timeout=10)
        exchange.advance(DAYS[1].closes + AFTER_CLOSE)
        warehouse.publish(DAYS[1], {"BETA": 0.4})
        warehouse.change(stale, DAYS[1].opens)
        assert [order.side for order in session.decide().sent] == [Side.SELL]
        warehouse.change(stale, None)
        [late] = session.decide().intents
        assert [refusal.partition(":")[0] for refusal in late.refusals] == ["GrossExposure"]


def test_a_drawdown_halts_and_a_release_begins_anew(exchange, warehouse, package):
    limits = _account(drawdown="0.001")
    warehouse.publish(DAYS[0], {"BETA": 0.9})
    with Session.open([package], exchange.broker(), limits=limits) as session:
        assert len(session.decide().sent) == 1
        exchange.advance(DAYS[1].opens + AFTER_OPEN)
        session.settle(timeout=10)
        exchange.advance(DAYS[1].closes + AFTER_CLOSE)
        # the peak is what it was, and the close is below what was paid
        warehouse.publish(DAYS[1], {"BETA": 0.9})
        warehouse.change("update canonical.ohlcv_1d set close = close * 0.9 where symbol = 'BETA'")
        step = session.decide()
        assert step.sent == ()
        [reason] = session.halts()
        assert "below its peak of 100000.00: the limit is 0.001" in reason
        with Ledger.view(session.account_id) as operator:
            operator.release("we know")
        step = session.decide()
        assert session.halts() == ()
        assert not any("NotHalted" in reason for bar in step.refused for reason in bar.reasons)
        marks = rows("select equity, peak from ledger.marks where account_id = %s order by mark_id", session.account_id)
        assert marks[-1][0] == marks[-1][1] < marks[0][1] == 100_000


def test_a_loss_counts_on_after_a_session_that_ended_flat(exchange, warehouse, package):
    limits = _account(drawdown="0.5")
    warehouse.publish(DAYS[0], {"BETA": 0.9})
    with Session.open([package], exchange.broker(), limits=limits) as session:
        session.decide()
        exchange.advance(DAYS[1].opens + AFTER_OPEN)
        session.settle(timeout=10)
        exchange.advance(DAYS[2].opens + AFTER_OPEN)
        assert session.flatten(timeout=60)
    with Session.open([package], exchange.broker(), limits=limits) as session:
        session.decide()
    peaks = rows("select equity, peak from ledger.marks where account_id = %s order by mark_id", session.account_id)
    assert peaks[-1][0] < peaks[-1][1] == peaks[0][1] == 100_000


def test_no_mark_is_taken_of_a_sum_that_is_no_equity(exchange, warehouse, package):
    marks = "select count(*), max(peak) from ledger.marks where account_id = %s"
    eve = next(number for number, day in enumerate(DAYS) if day.day == SPLIT_DAY) - 1
    exchange.advance(DAYS[eve - 1].closes + AFTER_CLOSE)
    warehouse.publish(DAYS[eve - 1], {"ALPHA": 0.5})
    limits = _account(drawdown="0.5")
    with Session.open([package], exchange.broker(), limits=limits, pause=lambda _: None) as session:
        session.decide()
        exchange.advance(DAYS[eve].opens + AFTER_OPEN)
        session.settle(timeout=10)
        exchange.advance(DAYS[eve].closes + AFTER_CLOSE)
        warehouse.publish(DAYS[eve], {"ALPHA": 0.5})
        session.decide()
        taken = rows(marks, session.account_id)
        warehouse.change("insert into canonical.announced_splits values ('ALPHA', %s, 1, 2)", SPLIT_DAY)
        # twice the shares, and their newest close is of the day before
        exchange.advance(DAYS[eve + 1].opens + AFTER_OPEN)
        session.decide()
        assert rows(marks, session.account_id) == taken
        exchange.advance(DAYS[eve + 1].closes + AFTER_CLOSE)
        warehouse.publish(DAYS[eve + 1], {"ALPHA": 0.5})
        exchange.act("move", symbol="BETA", qty="1000")
        session.decide()
        assert session.halts() != ()
        assert rows(marks, session.account_id) == taken
        exchange.act("move", symbol="BETA", qty="-1000")
        session.decide()
        [(count, peak)] = rows(marks, session.account_id)
        assert count == taken[0][0] + 1
        assert peak < 105_000


def test_marks_know_the_day_and_what_was_deposited(ledger_db):
    account, noon = f"marks-{datetime.now(UTC):%H%M%S%f}", datetime(2012, 10, 1, 12, tzinfo=UTC)
    with Ledger.open(account, "alpaca", Mode.PAPER) as ledger:
        assert ledger.mark(D(100), noon) == Mark(D(100), D(100), D(100))
        assert ledger.mark(D(120), noon) == Mark(D(120), D(120), D(100))
        assert ledger.mark(D(90), noon).drawdown == D("0.25")
        assert ledger.mark(D(90), noon).daily_loss == D("0.1")
        # a day begins with what the one before left
        assert ledger.mark(D(80), noon + timedelta(days=1)) == Mark(D(80), D(120), D(90))
        assert rows("select count(*) from ledger.marks where account_id = %s", account) == [(4,)]
        with ledger._transaction() as cursor:
            cursor.execute(
                "insert into ledger.activities (account_id, activity_id, kind, quantity, cash, happened_at)"
                " values (%s, 'd-1', 'deposit', 0, 40, %s)",
                (account, noon),
            )
        # while nobody knows the equity the newest mark holds
        assert ledger.mark(None, noon + timedelta(days=1)) == Mark(D(120), D(160), D(130))
        # it is neither a gain nor a loss
        assert ledger.mark(D(120), noon + timedelta(days=1)) == Mark(D(120), D(160), D(130))
