"""What a retired model holds is closed or handed over, as configured, and is never just left."""

import multiprocessing
import os
import signal
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

import psycopg
import pytest

from execution.__main__ import main
from execution.brokers.alpaca import AlpacaBroker
from execution.brokers.base import BrokerSnapshot, Mode, OrderRequest, SubmitOutcome, Unknown
from execution.ledger import Ledger
from execution.limits import Limits
from execution.retirement import brokers
from execution.session import Session
from flows import paper_trade
from flows.attention import NeedsAttention
from sandbox.broker import binance_wire
from tests.execution.agreement import assert_agree
from tests.execution.spot import FIRST, PAIRS, SpotWarehouse, assert_spot_agrees, spot_exchange, units, wait_for
from tests.execution.world import AFTER_CLOSE, AFTER_OPEN, KEY, SECRET, SPLIT_DAY, SignalPackage, rows, trading_days
from tests.machine import as_owner
from warehouse.connection import connect

pytestmark = pytest.mark.database

DAYS = trading_days()
CLOSES = Limits(closes_retired=True)


def _no_pause(_: float) -> None:
    pass


@pytest.fixture
def left_behind(exchange, nobody_else, warehouse, package) -> str:
    """After the second day's close the account holds both symbols, and their model is retired."""
    warehouse.publish(DAYS[0], {"ALPHA": 0.5, "BETA": 0.4})
    with Session.open([package], exchange.broker()) as session:
        assert len(session.decide().sent) == 2
        exchange.advance(DAYS[1].opens + AFTER_OPEN)
        assert session.settle(timeout=5) == ()
    warehouse.publish(DAYS[1], {})
    exchange.advance(DAYS[1].closes + AFTER_CLOSE)
    warehouse.enter_state(package.model_id, "retired")
    return session.account_id


@pytest.fixture
def settings(exchange, monkeypatch) -> None:
    """The environment leads to the stand-in."""
    monkeypatch.setenv("APCA_API_KEY_ID", KEY)
    monkeypatch.setenv("APCA_API_SECRET_KEY", SECRET)
    monkeypatch.setenv("APCA_API_BASE_URL", exchange.url)
    monkeypatch.setenv("APCA_API_STREAM_URL", exchange.stream_url)


def _wind_up(exchange, limits: Limits | None = CLOSES, kind: type[AlpacaBroker] = AlpacaBroker) -> Session:
    return Session.open((), exchange.broker(kind), limits=limits, pause=_no_pause, winds_up=True)


def _positions(exchange) -> dict[str, Decimal]:
    return {held["symbol"]: Decimal(held["qty"]) for held in exchange.book()["positions"] if Decimal(held["qty"])}


def _acts(account: str) -> list[tuple]:
    return rows(
        "select symbol, act, successor, quantity from ledger.retirements where account_id = %s order by symbol", account
    )


def test_what_nobody_trades_any_more_is_closed_once_with_its_reason(exchange, left_behind):
    held = _positions(exchange)
    with _wind_up(exchange) as session:
        sent = session.decide().sent
        assert {order.symbol: (order.side, order.quantity) for order in sent} == {
            symbol: ("sell", units) for symbol, units in held.items()
        }
        # it waits for the open like any other order, and nothing is said twice
        assert session.decide().sent == ()
        assert session.concerns() == ()
        exchange.advance(DAYS[2].opens + AFTER_OPEN)
        assert session.settle(timeout=5) == ()
        assert session.decide().sent == ()
    assert _positions(exchange) == {}
    assert _acts(left_behind) == [(symbol, "close", None, units) for symbol, units in sorted(held.items())]
    assert ("model signal-00000000 is retired, and no model took its place in ALPHA",) in rows(
        "select reason from ledger.retirements where account_id = %s", left_behind
    )
    assert_agree(exchange.book())


def test_unless_the_limits_say_close_it_stays_and_is_told(exchange, left_behind, settings, capsys):
    held = _positions(exchange)
    for limits in (None, Limits()):
        with _wind_up(exchange, limits) as session:
            assert session.decide().sent == ()
            assert len(session.concerns()) == 2
    assert brokers(Mode.PAPER) >= {"alpaca"}
    with pytest.raises(NeedsAttention, match="ALPHA is held of model signal-00000000, which is retired, and no model"):
        paper_trade.decide.fn((), "alpaca", {})
    assert main(["status", "--account", left_behind]) == 0
    assert "left behind  485 ALPHA of model signal-00000000" in capsys.readouterr().out
    assert _positions(exchange) == held


def test_it_is_told_though_every_model_of_the_account_is_set_aside(exchange, warehouse, left_behind):
    with Ledger.view(left_behind) as ledger:
        ledger.hold_apart(["ZETA"], "another program's")
    newcomer = SignalPackage(model_id="zeta-00000000", symbols=("ZETA",))
    warehouse.enter_state(newcomer.model_id, "paper")
    try:
        with Session.open([newcomer], exchange.broker()) as session:
            assert session.decide().sent == ()
            told = [concern for concern in session.concerns() if "which is retired" in concern]
            assert [concern.split()[1] for concern in told] == ["ALPHA", "BETA"]
    finally:
        warehouse.enter_state(newcomer.model_id, "retired")


def test_who_trades_the_symbol_now_has_the_position_at_the_newest_close(exchange, warehouse, left_behind):
    held = _positions(exchange)
    newcomer = SignalPackage(model_id="newcomer-00000000", symbols=("ALPHA",))
    warehouse.enter_state(newcomer.model_id, "paper")
    try:
        with Session.open([newcomer], exchange.broker(), limits=CLOSES) as session:
            step = session.decide()
            # ALPHA is the newcomer's to sell, BETA is nobody's
            assert {order.symbol: order.quantity for order in step.sent} == held
            assert [decision.model_id for decision in step.decisions] == [newcomer.model_id]
            assert session.decide().sent == ()
        assert _acts(left_behind) == [
            ("ALPHA", "hand_over", newcomer.model_id, held["ALPHA"]),
            ("BETA", "close", None, held["BETA"]),
        ]
        assert rows(
            "select price from ledger.retirements where account_id = %s and act = 'hand_over'", left_behind
        ) == [(Decimal(str(DAYS[1].prices["ALPHA"][1])),)]
        assert dict(rows("select symbol, model_id from ledger.holders where account_id = %s", left_behind)) == {
            "ALPHA": newcomer.model_id,
            "BETA": "signal-00000000",
        }
    finally:
        warehouse.enter_state(newcomer.model_id, "retired")


def test_what_waits_for_a_model_that_does_not_trade_here_is_told_and_not_closed(exchange, warehouse, left_behind):
    held = _positions(exchange)
    newcomer = SignalPackage(model_id="elsewhere-0000000", symbols=("ALPHA",))
    warehouse.enter_state(newcomer.model_id, "paper")
    try:
        with _wind_up(exchange) as session:
            assert [order.symbol for order in session.decide().sent] == ["BETA"]
            [told] = session.concerns()
            assert told == (
                "485 ALPHA is held of model signal-00000000, which is retired, "
                "and model elsewhere-0000000, which is to have it, does not trade here"
            )
            assert _positions(exchange)["ALPHA"] == held["ALPHA"]
        # where every model of the broker was set aside, somebody looks all the same
        assert "alpaca" in brokers(Mode.PAPER)
        with Session.open([newcomer], exchange.broker(), limits=CLOSES) as session:
            session.decide()
            assert session.left_behind() == ()
        assert ("ALPHA", "hand_over", newcomer.model_id, held["ALPHA"]) in _acts(left_behind)
    finally:
        warehouse.enter_state(newcomer.model_id, "retired")


def test_what_hinders_the_account_hinders_a_closing_too(exchange, warehouse, left_behind):
    with Ledger.view(left_behind) as operator:
        operator.halt("lunch")
        with _wind_up(exchange) as session:
            assert session.decide().sent == ()
            assert "BETA is held of model signal-00000000" in " ".join(session.concerns())
            assert "is not closed yet: NotHalted: the account is halted: lunch" in " ".join(session.concerns())
        operator.release("back")
    with _wind_up(exchange) as session:
        assert len(session.decide().sent) == 2


def test_nothing_is_closed_on_the_eve_of_its_split(exchange, warehouse, left_behind):
    warehouse.change("insert into canonical.announced_splits values ('ALPHA', %s, 1, 2)", DAYS[2].day)
    assert DAYS[2].day < SPLIT_DAY
    with _wind_up(exchange) as session:
        assert [order.symbol for order in session.decide().sent] == ["BETA"]
        assert "NoSplitBeforeOpen" in " ".join(session.concerns())


def test_an_order_without_an_answer_is_continued_and_not_doubled(exchange, left_behind):
    class Mute(AlpacaBroker):
        def submit(self, request):
            return Unknown("no answer")

    with _wind_up(exchange, kind=Mute) as session:
        session.decide()
    assert exchange.book()["orders"][2:] == []
    with _wind_up(exchange) as session:
        session.decide()
        exchange.advance(DAYS[2].opens + AFTER_OPEN)
        assert session.settle(timeout=5) == ()
    assert len(exchange.book()["orders"]) == 4
    assert _positions(exchange) == {}
    assert_agree(exchange.book())


def test_what_did_not_fill_is_closed_with_another_order(exchange, left_behind, settings):
    held = _positions(exchange)
    with _wind_up(exchange) as session:
        assert len(session.decide().sent) == 2
    assert main(["cancel", "--account", left_behind, "--reason", "wait", "--all"]) == 0
    exchange.advance(DAYS[2].closes + AFTER_CLOSE)
    assert _positions(exchange) == held
    with _wind_up(exchange) as session:
        assert {order.symbol: order.quantity for order in session.decide().sent} == held
        exchange.advance(DAYS[3].opens + AFTER_OPEN)
        assert session.settle(timeout=5) == ()
    assert _positions(exchange) == {}
    assert_agree(exchange.book())


def test_what_is_worth_nothing_is_closed_and_stops_nobody(exchange, left_behind):
    class Delisted(AlpacaBroker):
        def snapshot(self, since) -> BrokerSnapshot:
            found = super().snapshot(since)
            worthless = [
                replace(held, mark=Decimal(0) if held.symbol == "ALPHA" else held.mark) for held in found.positions
            ]
            return replace(found, positions=tuple(worthless))

    with _wind_up(exchange, kind=Delisted) as session:
        assert [order.symbol for order in session.decide().sent] == ["ALPHA", "BETA"]
    prices = "select symbol, reference_price is null from ledger.intents where account_id = %s and decision_id is null"
    assert sorted(rows(prices, left_behind)) == [("ALPHA", True), ("BETA", False)]


def test_a_successor_that_is_retired_meanwhile_has_nothing_and_stops_nobody(exchange, warehouse, left_behind):
    newcomer = SignalPackage(model_id="fleeting-0000000", symbols=("ALPHA",))
    warehouse.enter_state(newcomer.model_id, "paper")

    class Slow(AlpacaBroker):
        def terms(self, symbols):
            if set(symbols) == {"ALPHA", "BETA"}:  # those that are left behind
                warehouse.enter_state(newcomer.model_id, "retired")
            return super().terms(symbols)

    with Session.open([newcomer], exchange.broker(Slow), limits=CLOSES) as session:
        session.decide()
        assert "ALPHA is held of model signal-00000000, which is retired, and is not handed over: " in " ".join(
            session.concerns()
        )
    assert _acts(left_behind) == [("BETA", "close", None, _positions(exchange)["BETA"])]


def test_a_closing_that_the_broker_refuses_is_told_and_tried_again_after_an_hour(exchange, left_behind):
    exchange.act("standing", refuses="account is restricted")
    closings = "select count(*) from ledger.orders where account_id = %s and retirement_id is not null"
    with _wind_up(exchange) as session:
        for _ in range(3):
            session.decide()
            assert rows(closings, left_behind) == [(2,)]
        [alpha, _] = session.left_behind()
        assert (
            "485 ALPHA is held of model signal-00000000, which is retired, and is not closed yet: the broker" in alpha
        )
        assert "account is restricted" in alpha
        exchange.act("standing", refuses="")
        assert session.decide().sent == ()
        exchange.advance(DAYS[1].closes + AFTER_CLOSE + timedelta(minutes=61))
        assert [order.status for order in session.decide().sent] == ["accepted", "accepted"]


def test_a_halt_between_two_closings_is_heard(exchange, left_behind):
    def halted(kind: type[AlpacaBroker]) -> type[AlpacaBroker]:
        class Halted(kind):
            def submit(self, request: OrderRequest) -> SubmitOutcome:
                answer = super().submit(request)
                with Ledger.view(left_behind) as operator:
                    operator.halt("stop")
                return answer

        return Halted

    with _wind_up(exchange, kind=halted(AlpacaBroker)) as session:
        assert [order.symbol for order in session.decide().sent] == ["ALPHA"]
        assert session.decide().sent == ()
    assert [order["symbol"] for order in exchange.book()["orders"][2:]] == ["ALPHA"]


def test_a_halt_is_heard_before_a_closing_is_sent_again(exchange, left_behind):
    class Mute(AlpacaBroker):
        def submit(self, request):
            return Unknown("no answer")

    class Halted(AlpacaBroker):
        def submit(self, request):
            with Ledger.view(left_behind) as operator:
                operator.halt("stop")
            return super().submit(request)

    with _wind_up(exchange, kind=Mute) as session:
        session.decide()
    with _wind_up(exchange, kind=Halted) as session:
        session.decide()
    assert len(exchange.book()["orders"]) == 3


def test_trade_looks_after_what_is_left_when_its_last_model_is_retired(
    exchange, left_behind, settings, tmp_path, monkeypatch
):
    (tmp_path / "limits.yaml").write_text("account:\n  on_retirement: close\n")
    monkeypatch.setenv("TRUEBAR_LIMITS", str(tmp_path / "limits.yaml"))
    trading = multiprocessing.get_context("fork").Process(target=lambda: os._exit(main(["trade"])))
    trading.start()
    assert wait_for(lambda: len(exchange.book()["orders"]) == 4 or not trading.is_alive(), 60)
    assert trading.is_alive()
    os.kill(trading.pid, signal.SIGTERM)
    trading.join(30)
    assert trading.exitcode == 0
    assert len(exchange.book()["orders"]) == 4


RETIRED = (
    "insert into ledger.retirements (account_id, model_id, symbol, act, successor, quantity, price, broker_time,"
    " reason) values (%s, 'signal-00000000', 'ALPHA', %s, %s, %s, %s, now(), 'x')"
)
CLOSING = (
    "insert into ledger.intents (client_order_id, account_id, symbol, side, quantity, order_type, time_in_force,"
    " verdict, broker_time, retirement_id) select 'c', account_id, symbol, %s, %s, 'market', 'day', 'approved', now(),"
    " retirement_id from ledger.retirements where account_id = %s and act = 'close'"
)
HELD = """
insert into ledger.accounts (account_id, broker, mode) values (%(name)s, 'b', %(mode)s);
insert into ledger.decisions (decision_id, account_id, model_id, symbol, timeframe, bar_start, bar_end, broker_time,
    feature_names, feature_values, score, target_weight)
values (%(name)s, %(name)s, 'signal-00000000', 'ALPHA', '1d', '2020-01-01', '2020-01-02', '2020-01-02', '{}', '{}',
    0, 0);
insert into ledger.intents (client_order_id, decision_id, account_id, symbol, side, quantity, order_type, time_in_force,
    reference_price, verdict) values (%(name)s, %(name)s, %(name)s, 'ALPHA', 'buy', 1, 'market', 'day', 1, 'approved');
insert into ledger.order_events (client_order_id, status) values (%(name)s, 'submitting');
insert into ledger.fills (account_id, execution_id, client_order_id, symbol, side, quantity, price, filled_at)
values (%(name)s, 'E', %(name)s, 'ALPHA', 'buy', 1, 1, '2020-01-02');
"""


def test_the_database_refuses_what_closes_nothing(exchange, warehouse, left_behind):
    def refused(*statements: tuple[str, tuple]) -> None:
        with connect("executor") as connection:
            for statement, values in statements[:-1]:
                connection.execute(statement, values)
            with pytest.raises(psycopg.errors.CheckViolation):
                connection.execute(*statements[-1])
            connection.rollback()

    close = (RETIRED, (left_behind, "close", None, 485, None))
    refused((RETIRED, (left_behind, "close", None, 484, None)))
    refused((RETIRED, (left_behind, "hand_over", "signal-00000000", 485, 100)))
    refused((RETIRED, (left_behind, "hand_over", None, 485, 100)))
    refused(close, close)
    refused(close, (CLOSING, ("sell", 486, left_behind)))
    refused(close, (CLOSING, ("buy", 1, left_behind)))
    newcomer = "trades-alpha-000"
    warehouse.enter_state(newcomer, "paper")
    handed_over = (RETIRED, (left_behind, "hand_over", newcomer, 485, 100))
    # it was said of the model that had the position before
    refused(close, handed_over, (CLOSING, ("sell", 485, left_behind)))
    refused((RETIRED.replace("ALPHA", "BETA"), (left_behind, "hand_over", newcomer, 984, 100)))
    warehouse.enter_state(newcomer, "retired")
    warehouse.enter_state("signal-00000000", "paper")
    refused(close)


@pytest.mark.parametrize("mode", ["paper", "live"])
def test_a_successor_is_one_that_trades_on_such_an_account(warehouse, package, mode):
    newcomer = f"{mode}-successor-0"
    warehouse.enter_state(package.model_id, "retired")
    held = "select successor from ledger.left_behind where account_id = %s"
    # models of other tests trade the symbol elsewhere
    others = (
        "insert into research.model_states (model_id, state, reason) select model_id, 'retired', 'x'"
        " from research.models where model_id <> all(%s)"
    )
    for state in ("paper", "live"):
        warehouse.enter_state(newcomer, state)
        with as_owner() as connection:
            connection.execute(others, ([newcomer, package.model_id],))
            psycopg.ClientCursor(connection).execute(HELD, {"name": f"{mode}-account", "mode": mode})
            assert connection.execute(held, (f"{mode}-account",)).fetchall() == [(newcomer if state == mode else None,)]
            connection.rollback()
    warehouse.enter_state(newcomer, "retired")


def test_what_a_person_adopted_is_no_retired_models(exchange, left_behind, settings):
    with _wind_up(exchange) as session:
        session.decide()
        exchange.advance(DAYS[2].opens + AFTER_OPEN)
        assert session.settle(timeout=5) == ()
    exchange.act("move", symbol="ALPHA", qty="3")
    assert main(["adopt", "--all", "--reason", "mine"]) == 0
    assert rows("select quantity from ledger.positions where account_id = %s", left_behind) == [(3,)]
    assert rows("select model_id from ledger.holders where account_id = %s", left_behind) == []
    with _wind_up(exchange) as session:
        assert session.decide().sent == ()
        assert session.left_behind() == ()


def test_two_shares_of_one_position_are_closed_one_after_the_other(exchange, warehouse, left_behind):
    """The second model traded the symbol while the first one was set aside; now both are retired."""
    held = _positions(exchange)
    warehouse.enter_state("signal-00000000", "paper")
    other = SignalPackage(model_id="another-00000000", symbols=("ALPHA",))
    warehouse.enter_state(other.model_id, "paper")
    warehouse.publish(DAYS[2], {"ALPHA": 0.8})
    exchange.advance(DAYS[2].closes + AFTER_CLOSE)
    with Session.open([other], exchange.broker()) as session:
        [bought] = session.decide().sent
        assert bought.side == "buy"
        exchange.advance(DAYS[3].opens + AFTER_OPEN)
        assert session.settle(timeout=5) == ()
    warehouse.enter_state(other.model_id, "retired")
    shares = "select symbol, model_id, quantity from ledger.holders where account_id = %s"
    assert sorted(rows(shares, left_behind)) == [
        ("ALPHA", other.model_id, bought.quantity),
        ("ALPHA", "signal-00000000", held["ALPHA"]),
        ("BETA", "signal-00000000", held["BETA"]),
    ]
    with _wind_up(exchange, limits=None) as session:
        # who traded beside it is no successor: it has a share of its own
        assert session.decide().sent == ()
        [told] = session.concerns()
        assert told.startswith(
            f"{bought.quantity} ALPHA is held of model {other.model_id}, which is retired, and no model"
        )
    warehouse.enter_state("signal-00000000", "retired")
    with _wind_up(exchange) as session:
        first = session.decide().sent
        assert [(order.symbol, order.quantity) for order in first] == [
            ("ALPHA", bought.quantity),
            ("BETA", held["BETA"]),
        ]
        assert session.settle(timeout=5) == ()
        assert sorted(rows(shares, left_behind)) == [("ALPHA", "signal-00000000", held["ALPHA"])]
        assert [(order.symbol, order.quantity) for order in session.decide().sent] == [("ALPHA", held["ALPHA"])]
        assert session.settle(timeout=5) == ()
    assert _positions(exchange) == {}
    assert_agree(exchange.book())


@pytest.fixture
def spot(spot_tape, tmp_path, monkeypatch, request):
    monkeypatch.setattr(binance_wire, "UID", 1_000 + hash(request.node.nodeid) % 1_000_000_000)
    running = spot_exchange(spot_tape, tmp_path)
    yield running
    running.stop()


def test_what_a_fee_leaves_of_a_lot_is_closed_as_far_as_it_can_be_sold(spot, ledger_db):
    warehouse = SpotWarehouse()
    package = SignalPackage(model_id="spot-retired-000", symbols=PAIRS)
    warehouse.enter_state(package.model_id, "paper")
    end = FIRST + timedelta(days=2)
    warehouse.close_bar(end, {"BTCUSDT": 0.15617})
    spot.advance(end + timedelta(minutes=1))
    with Session.open([package], spot.broker()) as session:
        session.decide()
        assert session.settle(timeout=5) == ()
    warehouse.enter_state(package.model_id, "retired")
    with Session.open((), spot.broker(), limits=CLOSES, winds_up=True) as session:
        assert [order.symbol for order in session.decide().sent] == ["BTCUSDT"]
        assert session.settle(timeout=5) == ()
        assert session.decide().sent == ()
        assert session.concerns() == ()
    book = spot.spot()
    assert 0 < units(book, "BTC") < Decimal("0.00001")
    assert_spot_agrees(book)
    # for other tests on this server nothing is left behind
    with Ledger.view(session.account_id) as ledger:
        ledger.hold_apart(["BTCUSDT"], "the test is over")
