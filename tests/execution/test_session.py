"""A session against the stand-in broker, through the unmodified SDK and a real ledger."""

from dataclasses import dataclass, field
from decimal import Decimal

import numpy as np
import pytest
import xgboost

from execution.brokers.alpaca import AlpacaBroker
from execution.brokers.base import Mode
from execution.ledger import Ledger
from execution.orders import OrderStatus, Side
from execution.session import Session, Step
from execution.withdrawals import Action
from models_registry.package import ModelPackage
from models_registry.rebalancing import Rebalancing
from tests.execution.agreement import assert_agree
from tests.execution.world import AFTER_CLOSE, AFTER_OPEN, FINGERPRINT, SYMBOLS, SignalPackage, rows, trading_days
from warehouse.errors import Retry, Stop

pytestmark = pytest.mark.database

DAYS = trading_days()
WEIGHTS = [{"ALPHA": 0.5, "BETA": 0.5}, {"ALPHA": 0.5}, {}, {"BETA": 0.5}, {"ALPHA": 0.25, "BETA": 0.25}]


def _weights(number: int) -> dict[str, float]:
    return WEIGHTS[number // 2 % len(WEIGHTS)]


def test_forty_days_with_a_split_a_dividend_and_fees_agree_to_the_cent(exchange, warehouse, package):
    with Session.open([package], exchange.broker()) as session:
        for number, day in enumerate(DAYS[:-1]):
            exchange.advance(day.closes + AFTER_CLOSE)
            warehouse.publish(day, _weights(number))
            step = session.decide()
            assert step.refused == ()
            assert len(step.decisions) == 2
            assert all(intent.is_approved for intent in step.intents), step.intents
            exchange.advance(DAYS[number + 1].opens + AFTER_OPEN)
            assert session.settle(timeout=5) == ()
        exchange.advance(DAYS[-1].closes + AFTER_CLOSE)
        assert session.reconcile().outcome != "discrepancy"

    book = exchange.book()
    assert_agree(book)
    kinds = {row["activity_type"] for row in book["activities"]}
    assert kinds == {"CSD", "FILL", "FEE", "DIV", "SPLIT"}
    assert len(book["fills"]) > 30
    outcomes = dict(
        rows(
            "select outcome, count(*) from ledger.reconciliations where account_id = %s group by 1", book["account_id"]
        )
    )
    assert "discrepancy" not in outcomes
    assert rows("select count(*) from ledger.halts where account_id = %s", book["account_id"]) == [(0,)]


@dataclass(frozen=True)
class DriftingPackage(SignalPackage):
    """A package that says what it does about drift."""

    rebalancing: Rebalancing = field(default_factory=Rebalancing)


@pytest.mark.parametrize(
    ("drift", "band", "expected"),
    [("let_run", 0.0, [1, 0, 0, 0, 1, 0]), ("traded", 0.0, [1, 1, 1, 1, 1, 1]), ("traded", 0.2, [1, 0, 0, 0, 1, 0])],
)
def test_a_session_does_about_drift_what_its_package_was_judged_on(exchange, warehouse, drift, band, expected):
    package = DriftingPackage(rebalancing=Rebalancing(drift=drift, band=band))
    warehouse.enter_state(package.model_id, "paper")
    orders = []
    with Session.open([package], exchange.broker()) as session:
        for number, day in enumerate(DAYS[: len(expected)]):
            exchange.advance(day.closes + AFTER_CLOSE)
            warehouse.publish(day, {"ALPHA": 0.5 if number < 4 else 0.25})
            orders.append(len(session.decide().sent))
            exchange.advance(DAYS[number + 1].opens + AFTER_OPEN)
            assert session.settle(timeout=5) == ()
    assert orders == expected


def test_what_an_order_was_cut_by_is_bought_later_though_drift_is_let_run(exchange, warehouse):
    package = DriftingPackage(rebalancing=Rebalancing(drift="let_run", band=0.0))
    warehouse.enter_state(package.model_id, "paper")
    orders = []
    with Session.open([package], exchange.broker()) as session:
        for number, weights in enumerate(({"BETA": 0.9}, *[{"ALPHA": 0.5, "BETA": 0.4}] * 3)):
            exchange.advance(DAYS[number].closes + AFTER_CLOSE)
            warehouse.publish(DAYS[number], weights)
            orders.append(sorted(order.symbol for order in session.decide().sent))
            exchange.advance(DAYS[number + 1].opens + AFTER_OPEN)
            assert session.settle(timeout=5) == ()
    # the money for ALPHA is there only after BETA is sold
    assert orders == [["BETA"], ["ALPHA", "BETA"], ["ALPHA"], []]


def test_what_was_to_be_flattened_is_traded_to_its_target_again_though_drift_is_let_run(exchange, warehouse):
    package = DriftingPackage(rebalancing=Rebalancing(drift="let_run", band=0.0))
    warehouse.enter_state(package.model_id, "paper")
    orders = []
    with Session.open([package], exchange.broker()) as session:
        for number in range(4):
            exchange.advance(DAYS[number].closes + AFTER_CLOSE)
            warehouse.publish(DAYS[number], {"ALPHA": 0.5})
            orders.append(len(session.decide().sent))
            if number == 1:
                with Ledger.view(session.account_id) as operator:
                    operator.act(Action.FLATTEN, "a person wants it")
                    assert [order.side for order in session.decide().sent] == [Side.SELL]
                    operator.release("and does not any more")
                assert session.decide().sent == ()
            exchange.advance(DAYS[number + 1].opens + AFTER_OPEN)
            assert session.settle(timeout=5) == ()
    assert orders == [1, 0, 1, 0]


@pytest.fixture
def first_day(warehouse):
    """The first day's bars are there, and both models' symbols want half of the account."""
    warehouse.publish(DAYS[0], {"ALPHA": 0.5, "BETA": 0.5})
    return DAYS[0]


def _rules(step: Step) -> set[str]:
    return {reason.split(":")[0] for bar in step.refused for reason in bar.reasons}


def test_the_same_bars_are_decided_once(exchange, package, first_day):
    with Session.open([package], exchange.broker()) as session:
        assert len(session.decide().sent) == 2
        again = session.decide()
        assert (again.decisions, again.intents, again.sent) == ((), (), ())
    with Session.open([package], exchange.broker()) as session:
        assert session.decide().sent == ()
    assert len(exchange.book()["orders"]) == 2


def test_what_was_read_is_stored_bit_for_bit(exchange, package, first_day):
    with Session.open([package], exchange.broker()) as session:
        session.decide()
        stored = rows(
            "select feature_names, feature_values, score, target_weight from ledger.decisions where account_id = %s",
            session.account_id,
        )
    assert stored == [(["signal", "noise"], [0.5, 1 / 3], 0.5 / 3, 0.5)] * 2


@pytest.mark.parametrize(
    ("statement", "rule"),
    [
        ("update features.features_1d set is_ready = false", "FeatureRowReady"),
        ("update features.freshness_1d set stale_from = '2012-09-28'", "HistoryFresh"),
        ("delete from features.freshness_1d", "HistoryFresh"),
        ("update features.catalog set fingerprint = 'other' where feature = 'noise'", "FingerprintsMatch"),
        ("delete from features.catalog where feature = 'noise'", "FingerprintsMatch"),
        ("delete from features.features_1d", "BarIsFresh"),
        ("delete from canonical.ohlcv_1d", "BarIsFresh"),
        ("update canonical.ohlcv_1d set bar_end = bar_end - interval '1 day'", "BarIsFresh"),
        ("update reference.instruments set calendar = 'XLON'", "BarIsFresh"),
    ],
)
def test_a_bar_that_cannot_be_trusted_is_not_decided_until_it_can(exchange, warehouse, package, statement, rule):
    warehouse.publish(DAYS[0], {"ALPHA": 0.5, "BETA": 0.5})
    warehouse.change(statement)
    with Session.open([package], exchange.broker()) as session:
        for _ in range(2):
            step = session.decide()
            assert (step.decisions, step.sent) == ((), ())
            assert rule in _rules(step)
        logged = rows("select symbol, reasons from ledger.refusals where account_id = %s", session.account_id)
    assert len(logged) == 2
    assert exchange.book()["orders"] == []


def test_yesterdays_bar_is_not_traded_today(exchange, package, first_day):
    exchange.advance(DAYS[1].closes + AFTER_CLOSE)
    with Session.open([package], exchange.broker()) as session:
        assert "BarIsFresh" in _rules(session.decide())
    assert exchange.book()["orders"] == []


def test_a_missed_open_is_missed(exchange, package, first_day):
    exchange.advance(DAYS[1].opens + AFTER_OPEN)
    with Session.open([package], exchange.broker()) as session:
        assert _rules(session.decide()) == {"BeforeNextOpen"}
    assert exchange.book()["orders"] == []


@pytest.mark.parametrize("state", ["candidate", "retired", None])
def test_a_model_without_leave_does_not_trade(exchange, warehouse, first_day, state):
    package = SignalPackage(model_id=f"model-{state}")
    if state:
        warehouse.enter_state(package.model_id, state)
    with Session.open([package], exchange.broker()) as session:
        assert _rules(session.decide()) == {"ModelMayTrade"}
    assert exchange.book()["orders"] == []


def test_an_order_that_is_not_ours_halts_the_account_until_it_is_explained(exchange, package, first_day):
    exchange.trade(symbol="BETA", qty="1", side="buy", client_order_id="by-hand")
    account = exchange.book()["account_id"]
    with Session.open([package], exchange.broker(), pause=_no_pause) as session:
        step = session.decide()
        assert (step.decisions, _rules(step)) == ((), {"NotHalted", "Reconciled"})
        assert "is not ours" in rows("select reason from ledger.halts where account_id = %s", account)[0][0]
        Ledger.view(account).release("I know that order")
        assert session.reconcile().outcome == "discrepancy"
    assert [order["client_order_id"] for order in exchange.book()["orders"]] == ["by-hand"]
    assert len(rows("select 1 from ledger.halts where account_id = %s and action = 'halt'", account)) == 2


def test_what_hinders_the_account_does_not_use_up_the_bar(exchange, package, first_day):
    """Halted, blocked, or with an unexplained booking: the same evening, once that is over, the bar is traded."""
    with Session.open([package], exchange.broker(), pause=_no_pause) as session:
        with Ledger.view(session.account_id) as operator:
            operator.halt("lunch")
            step = session.decide()
            assert (step.decisions, _rules(step)) == ((), {"NotHalted"})
            operator.release("back")
        exchange.act("standing", trading_blocked=True)
        assert _rules(session.decide()) == {"AccountReady"}
        exchange.act("standing", trading_blocked=False)
        exchange.act("move", symbol="BETA", qty="1")
        assert {"NotHalted", "Reconciled"} <= _rules(session.decide())
        exchange.act("move", symbol="BETA", qty="-1")
        with Ledger.view(session.account_id) as operator:
            operator.release("it was late")
        assert exchange.book()["orders"] == []
        assert len(session.decide().sent) == 2
        assert session.decide().sent == ()
    exchange.advance(DAYS[1].opens + AFTER_OPEN)
    assert len(exchange.book()["fills"]) == 2


def test_orders_written_before_a_halt_go_out_after_it(exchange, package, first_day, monkeypatch):
    with Session.open([package], exchange.broker(), pause=_no_pause) as session:
        send = session._sender.send

        def send_and_halt(order, before):
            with Ledger.view(session.account_id) as operator:
                operator.halt("stop")
            return send(order, before)

        with monkeypatch.context() as patch:
            patch.setattr(session._sender, "send", send_and_halt)
            assert len(session.decide().sent) == 1
        assert [order["status"] for order in exchange.book()["orders"]] == ["canceled"]
        with Ledger.view(session.account_id) as operator:
            operator.release("go on")
        assert len(session.decide().sent) == 2
    assert [order["status"] for order in exchange.book()["orders"]] == ["canceled", "accepted", "accepted"]


def test_one_session_an_account(exchange, package):
    with (
        Session.open([package], exchange.broker()),
        pytest.raises(Stop, match=r"is in use by `session` .* since 20.* UTC: one session at a time"),
        Session.open([package], exchange.broker()),
    ):
        pass
    with Session.open([package], exchange.broker()):
        pass


def test_an_account_keeps_its_mode(exchange, package):
    broker = exchange.broker()
    with Session.open([package], broker):
        pass
    with pytest.raises(Stop, match="recorded as alpaca paper and was opened as alpaca live"):
        Ledger.open(exchange.book()["account_id"], "alpaca", Mode.LIVE)


def test_one_model_a_symbol_and_shares_of_one_whole(exchange, package):
    other = SignalPackage(model_id="other-1", symbols=("BETA",))
    broker = exchange.broker()
    with pytest.raises(Stop, match=r"trades BETA already, and .* may be short"):
        Session.open([package, other], broker)
    with pytest.raises(Stop, match="at most 1"):
        Session.open([package], broker, shares={package.model_id: Decimal("1.1")})
    with pytest.raises(Stop, match="sessions know 1m, 5m"):
        Session.open([SignalPackage(timeframe="2h")], broker)


def test_two_models_share_the_account(exchange, warehouse):
    pair = [SignalPackage(model_id="half-1", symbols=("ALPHA",)), SignalPackage(model_id="half-2", symbols=("BETA",))]
    for package in pair:
        warehouse.enter_state(package.model_id, "paper")
    warehouse.publish(DAYS[0], {"ALPHA": 1.0, "BETA": 1.0})
    with Session.open(pair, exchange.broker()) as session:
        step = session.decide()
    worth = {intent.symbol: intent.quantity * intent.reference_price for intent in step.intents}
    assert all(Decimal(48_900) < amount <= Decimal(49_000) for amount in worth.values()), worth


def test_without_the_stream_rest_alone_settles(exchange, package, first_day):
    class Deaf(AlpacaBroker):
        def open_stream(self) -> None:
            pass

    with Session.open([package], exchange.broker(Deaf, pause=_no_pause)) as session:
        session.decide()
        exchange.advance(DAYS[1].opens + AFTER_OPEN)
        assert session.settle(timeout=5) == ()
    assert_agree(exchange.book())


def test_the_stream_alone_settles_and_rest_finds_nothing_to_add(exchange, package, first_day):
    with Session.open([package], exchange.broker()) as session:
        session.decide()
        looks = "select times_compared from ledger.reconciliation_pulse where account_id = %s"
        before = rows(looks, session.account_id)
        exchange.advance(DAYS[1].opens + AFTER_OPEN)
        assert session.settle(timeout=5) == ()
        assert before == rows(looks, session.account_id)
        assert session.reconcile().findings == ()
    assert_agree(exchange.book())


def test_settling_before_the_open_gives_the_orders_back(exchange, package, first_day):
    with Session.open([package], exchange.broker()) as session:
        session.decide()
        assert {entry.order.status for entry in session.settle(timeout=0.2)} == {OrderStatus.ACCEPTED}


def test_a_real_package_trades_through_the_same_door(exchange, warehouse):
    booster = xgboost.train(
        {"objective": "binary:logistic", "max_depth": 2, "nthread": 1},
        xgboost.DMatrix(np.array([[0.0, 0.0], [1.0, 0.0]] * 20), label=[0, 1] * 20),
        num_boost_round=10,
    )
    package = ModelPackage.build(
        booster.save_raw("ubj"),
        model_id="real-00000001",
        experiment_id="real",
        hypothesis_id="h",
        run_id="r",
        trial_id="t",
        symbols=SYMBOLS,
        timeframe="1d",
        features=[{"name": name, "fingerprint": FINGERPRINT} for name in ("signal", "noise")],
        target={"kind": "binary", "horizon": 1},
        position_sizing={"policy": "long_flat"},
        cost_bps_per_side=2.0,
        parameters={},
        training_window={"start": DAYS[0].opens, "end": DAYS[1].opens, "rows": 40},
        data_watermark=DAYS[1].opens,
        library_versions={},
    )
    warehouse.enter_state(package.model_id, "paper")
    warehouse.publish(DAYS[0], {"ALPHA": 1.0, "BETA": 0.0})
    with Session.open([package], exchange.broker()) as session:
        step = session.decide()
    assert [(intent.symbol, intent.side) for intent in step.intents] == [("ALPHA", "buy")]
    assert {decision.symbol: decision.target_weight > 0 for decision in step.decisions} == {
        "ALPHA": True,
        "BETA": False,
    }


def _no_pause(_: float) -> None:
    pass


def test_it_ends_flat_and_the_account_is_released_once_it_is(exchange, warehouse, package):
    """While the market is closed the order waits; the next session goes on with it, and then releases the account."""
    warehouse.publish(DAYS[0], {"ALPHA": 0.5})
    acts = "select action from ledger.halts where account_id = %s order by halt_id"
    with Session.open([package], exchange.broker()) as session:
        session.decide()
        exchange.advance(DAYS[1].opens + AFTER_OPEN)
        session.settle(timeout=10)
        exchange.advance(DAYS[1].closes + AFTER_CLOSE)
        assert not session.flatten(timeout=1)
        assert rows(acts, session.account_id) == [("flatten",)]
    exchange.advance(DAYS[2].opens + AFTER_OPEN)
    with Session.open([package], exchange.broker()) as session:
        session.settle(timeout=10)
        session.decide()
        assert rows(acts, session.account_id) == [("flatten",), ("release",)]
    assert rows("select * from ledger.positions where account_id = %s and quantity <> 0", session.account_id) == []
    assert [order["side"] for order in exchange.book()["orders"]] == ["buy", "sell"]


def test_it_ends_flat_at_once_where_the_market_is_open_and_a_persons_word_stands(exchange, warehouse, package):
    warehouse.publish(DAYS[0], {"ALPHA": 0.5})
    acts = "select action from ledger.halts where account_id = %s order by halt_id"
    with Session.open([package], exchange.broker()) as session:
        session.decide()
        exchange.advance(DAYS[1].opens + AFTER_OPEN)
        session.settle(timeout=10)
        with Ledger.view(session.account_id) as operator:
            operator.act(Action.FLATTEN, "a person wants it")
            assert not session.flatten(timeout=0)
            operator.release("and does not any more")
        assert session.flatten(timeout=60)
        assert rows(acts, session.account_id) == [("flatten",), ("release",), ("flatten",), ("release",)]
    assert rows("select * from ledger.positions where account_id = %s and quantity <> 0", session.account_id) == []


def test_it_ends_flat_though_the_broker_does_not_answer_at_first(exchange, warehouse, package, monkeypatch):
    warehouse.publish(DAYS[0], {"ALPHA": 0.5})
    with Session.open([package], exchange.broker(), pause=_no_pause) as session:
        session.decide()
        exchange.advance(DAYS[1].opens + AFTER_OPEN)
        session.settle(timeout=10)
        answers, clock = iter((None, None)), AlpacaBroker.clock

        def is_down_twice(broker: AlpacaBroker):
            if next(answers, "the real one") is None:
                raise Retry("the broker answers 503")
            return clock(broker)

        monkeypatch.setattr(AlpacaBroker, "clock", is_down_twice)
        assert session.flatten(timeout=60)
    assert [order["side"] for order in exchange.book()["orders"]] == ["buy", "sell"]
