"""A session leaves a position when its backtest does: at a stop, a target, an age, over restarts and splits."""

from dataclasses import dataclass, field, replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pyarrow
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from execution.__main__ import main
from execution.ledger import Ledger
from execution.market_view import may_short
from execution.session import Session
from models_registry.exits import Exits, Held, Levels, decide
from models_registry.rebalancing import Rebalancing
from models_registry.scoring import PositionSizing
from tests.execution.world import (
    AFTER_CLOSE,
    AFTER_OPEN,
    KEY,
    SECRET,
    SPLIT_DAY,
    SYMBOLS,
    SignalPackage,
    rows,
    trading_days,
)
from tests.training.test_accounting import EXITS, a_dataset
from training.accounting import Market, Terms, Wanted
from training.costs import Costs, rates
from training.parity import _exits_that_differ, _silent

# it imports what a backtest does
pytestmark = pytest.mark.long

DAYS = trading_days()
WHOLE = 0.4
# days that a session trades, the split among them
MOST = 22


@dataclass(frozen=True)
class ExitingPackage(SignalPackage):
    """Long above a signal of 0.2; says when it leaves."""

    exits: Exits | None = None
    rebalancing: Rebalancing = field(default_factory=lambda: Rebalancing(band=0.0))

    def target_weights(self, features: pyarrow.Table) -> pd.DataFrame:
        read = features.to_pandas()
        answer = read[["symbol", "bar_start"]].assign(score=read["signal"], weight=_asked(read["signal"].to_numpy()))
        return answer.assign(whole=WHOLE)


def _asked(signals: np.ndarray) -> np.ndarray:
    return np.where(signals > 0.2, WHOLE, 0.0)


def _as_backtest(signals: np.ndarray, exits: Exits) -> np.ndarray:
    """(T, S) what a backtest holds after each decision on the world's prices, adjusted for its split."""
    alone = [np.array([[day.prices[symbol][side] for symbol in SYMBOLS] for day in DAYS]) for side in (0, 1)]
    before = np.array([day.day < SPLIT_DAY for day in DAYS])
    for prices in alone:
        prices[before, SYMBOLS.index("ALPHA")] /= 2
    opens, closes = alone
    shape = opens.shape
    dataset = a_dataset(opens, np.ones(shape, bool), np.ones(shape, bool), np.full(len(opens), 24))
    dataset = replace(dataset, highs=np.maximum(opens, closes), lows=np.minimum(opens, closes))
    market = Market(dataset, 0, len(DAYS) - 3)
    terms = Terms(rates(Costs(bps_per_side=1), ("equity", "equity")), Rebalancing(band=0.0), exits=exits)
    held = signals[: len(DAYS) - 2]
    wanted = Wanted(_asked(held)[None], held[None], np.full((1, *held.shape), WHOLE))
    return market.run(wanted, [terms])[0].positions


def _publish(warehouse: Any, number: int, signals: np.ndarray) -> None:
    day = DAYS[number]
    if day.day == SPLIT_DAY:
        # prices before it are adjusted from now on
        warehouse.change(
            "update canonical.ohlcv_1d set adj_open = adj_open / 2, adj_high = adj_high / 2, adj_low = adj_low / 2"
            " where symbol = 'ALPHA'"
        )
    warehouse.publish(day, dict(zip(SYMBOLS, signals[number].tolist(), strict=True)))


@pytest.mark.parametrize(
    ("exits", "reasons"),
    [
        (Exits(stop_loss=0.05, take_profit=0.03, max_bars=3), {"take_profit", "max_bars", "barred"}),
        (Exits(score=-0.3, min_bars=3, stop_loss=0.045), {"stop_loss", "barred"}),
    ],
)
def test_a_month_of_restarts_decide_what_the_backtest_does(exchange, warehouse, exits, reasons):
    generator = np.random.default_rng(7)
    signals = np.where(generator.random((len(DAYS), 2)) < 0.8, 0.5, generator.choice([-0.5, -0.1, 0.1], (len(DAYS), 2)))
    package = ExitingPackage(model_id=f"exits-{len(reasons):08}", exits=exits)
    warehouse.enter_state(package.model_id, "paper")
    for number in range(MOST):
        exchange.advance(DAYS[number].closes + AFTER_CLOSE)
        _publish(warehouse, number, signals)
        with Session.open([package], exchange.broker()) as session:  # each day another process
            step = session.decide()
            assert (step.refused, len(step.decisions)) == ((), 2)
            account = session.account_id
            exchange.advance(DAYS[number + 1].opens + AFTER_OPEN)
            assert session.settle(timeout=5) == ()

    decided = rows(
        "select symbol, target_weight, exit_reason, held_since from ledger.decisions where account_id = %s"
        " order by bar_start, symbol",
        account,
    )
    weights = np.array([weight for _, weight, _, _ in decided]).reshape(-1, 2)
    expected = _as_backtest(signals, exits)
    np.testing.assert_allclose(weights, expected[:MOST], rtol=0, atol=1e-12)
    assert {why for _, _, why, _ in decided if why} == reasons
    # a position that was bought before the split, and held over it, was judged by the prices since
    over_split = [since for symbol, _, _, since in decided if symbol == "ALPHA" and since]
    assert any(since.date() < SPLIT_DAY for since in over_split)

    # parity decides the same again from the prices as they stand, and says where they are others
    whole = {(symbol, day.opens): WHOLE for symbol in SYMBOLS for day in DAYS}
    assert [*_exits_that_differ(package.model_id, exits, "1d", whole)] == []
    warehouse.change("update canonical.ohlcv_1d set adj_low = adj_low / 2, adj_high = adj_high * 2")
    [first, *_] = _exits_that_differ(package.model_id, exits, "1d", whole)
    assert f"after exits weight was {WHOLE}, is" in first
    # what nobody traded in no backtest decides
    warehouse.change("update canonical.ohlcv_1d set is_silent = true")
    assert [*_exits_that_differ(package.model_id, exits, "1d", whole)] == []
    assert _silent("1d", [("ALPHA", day.opens) for day in DAYS[:3]]) == {("ALPHA", day.opens) for day in DAYS[:3]}


def test_what_nobody_knows_the_entry_of_is_judged_from_now_on(exchange, warehouse, monkeypatch):
    """A person bought it: its stop is that of the model from the bar that it decides first."""
    for name, value in (("API_KEY_ID", KEY), ("API_SECRET_KEY", SECRET), ("API_BASE_URL", exchange.url)):
        monkeypatch.setenv(f"APCA_{name}", value)
    monkeypatch.setenv("APCA_API_STREAM_URL", exchange.stream_url)
    warehouse.publish(DAYS[0], {})
    exchange.trade(symbol="ALPHA", side="buy", qty="400", client_order_id="a-person")
    exchange.advance(DAYS[1].opens + AFTER_OPEN)
    assert main(["reconcile"]) != 0
    assert main(["adopt", "--all", "--reason", "I bought it"]) == 0
    assert main(["release", "--account", exchange.book()["account_id"], "--reason", "go on"]) == 0
    heir = ExitingPackage(model_id="signal-11111111", exits=Exits(max_bars=2))
    warehouse.enter_state(heir.model_id, "paper")
    said = []
    for number in (1, 2, 3):
        exchange.advance(DAYS[number].closes + AFTER_CLOSE)
        warehouse.publish(DAYS[number], {"ALPHA": 0.5})
        with Session.open([heir], exchange.broker()) as session:
            [decision] = [one for one in session.decide().decisions if one.symbol == "ALPHA"]
            said.append((decision.held_since, decision.target_weight, decision.exit_reason))
            exchange.advance(DAYS[number + 1].opens + AFTER_OPEN)
            assert session.settle(timeout=5) == ()
    begun = DAYS[1].opens
    assert said == [(begun, WHOLE, None), (begun, 0.0, "max_bars"), (None, 0.0, "barred")]


def test_a_bar_in_which_nobody_traded_is_not_decided(exchange, warehouse):
    package = ExitingPackage(model_id="silent-00000000", exits=Exits(max_bars=2))
    warehouse.enter_state(package.model_id, "paper")
    warehouse.publish(DAYS[0], {"ALPHA": 0.5, "BETA": 0.5})
    warehouse.change("update canonical.ohlcv_1d set volume = 0, high = 1, low = 1 where symbol = 'ALPHA'")
    with Session.open([package], exchange.broker()) as session:
        step = session.decide()
        assert [decision.symbol for decision in step.decisions] == ["BETA"]
        assert [bar.reasons for bar in step.refused] == [("SomebodyTraded: nobody traded in it",)]
        warehouse.change("update canonical.ohlcv_1d set high = 2")
        assert [decision.symbol for decision in session.decide().decisions] == ["ALPHA"]


def _falls(warehouse: Any, number: int) -> None:
    """In this day's bar the price was at a half for a moment."""
    low = "update canonical.ohlcv_1d set adj_low = adj_low / 2 where symbol = 'ALPHA' and bar_start = %s"
    warehouse.change(low, DAYS[number].opens)


def _said(decisions: Any) -> list[tuple]:
    return [(one.held_side, one.held_since, one.exit_reason) for one in decisions if one.symbol == "ALPHA"]


def test_what_was_handed_over_is_judged_by_the_bars_after_that(exchange, warehouse):
    first = SignalPackage(model_id="leaves-00000000")
    heir = ExitingPackage(model_id="inherits-000000", symbols=("ALPHA",), exits=Exits(stop_loss=0.1))
    warehouse.enter_state(first.model_id, "paper")
    warehouse.publish(DAYS[0], {"ALPHA": 0.4})
    with Session.open([first], exchange.broker()) as session:
        session.decide()
        exchange.advance(DAYS[1].opens + AFTER_OPEN)
        assert session.settle(timeout=5) == ()
    warehouse.enter_state(first.model_id, "retired")
    warehouse.enter_state(heir.model_id, "paper")
    said = []
    for number in (1, 2, 3):
        exchange.advance(DAYS[number].closes + AFTER_CLOSE)
        warehouse.publish(DAYS[number], {"ALPHA": 0.5})
        if number != 2:
            _falls(warehouse, number)
        with Session.open([heir], exchange.broker()) as session:
            said += _said(session.decide().decisions)
            exchange.advance(DAYS[number + 1].opens + AFTER_OPEN)
            assert session.settle(timeout=5) == ()
    warehouse.enter_state(heir.model_id, "retired")
    begun = DAYS[2].opens
    assert said == [(1, None, None), (1, begun, None), (1, begun, "stop_loss")]


def test_a_bar_that_is_decided_again_is_not_judged_by_prices_before_its_fill(exchange, warehouse):
    package = ExitingPackage(model_id="again-000000000", symbols=("ALPHA",), exits=Exits(stop_loss=0.1))
    warehouse.enter_state(package.model_id, "paper")
    warehouse.publish(DAYS[0], {"ALPHA": 0.5})
    _falls(warehouse, 0)
    with Session.open([package], exchange.broker()) as session:
        said = _said(session.decide().decisions)
        [order] = exchange.book()["orders"]
        exchange.act("fill", order_id=order["id"], qty="10", price="100")
        with Ledger.view(session.account_id) as operator:
            operator.halt("lunch")
            session.decide()
            operator.release("back")
        said += _said(session.decide().decisions)
        exchange.advance(DAYS[1].opens + AFTER_OPEN)
        assert session.settle(timeout=5) == ()
        exchange.advance(DAYS[1].closes + AFTER_CLOSE)
        warehouse.publish(DAYS[1], {"ALPHA": 0.5})
        said += _said(session.decide().decisions)
    assert said == [(0, None, None), (1, None, None), (1, DAYS[1].opens, None)]


def test_a_side_that_the_sizing_may_not_take_is_not_kept():
    short = Held(np.array([[-1.0]]), 1, 50.0, 49.0, 51.0)
    said = [np.array([[value]]) for value in (0.0, 0.0, WHOLE)]
    for policy, kept in (("long_flat", 0.0), ("long_short", -WHOLE)):
        package = SimpleNamespace(sizing=PositionSizing(policy=policy))
        levels = Levels.of([Exits(min_bars=3)], may_short=may_short(package))
        [[weight]], _, _ = decide(levels, *said, short, np.array([[0.0]]))
        assert weight == kept


@pytest.mark.long
@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_a_bar_decided_alone_from_the_prices_since_the_entry_is_what_the_backtest_decides(data: st.DataObject) -> None:
    """As a session does: one decision, from the entry's bar, the bars since, and the side that is barred."""
    exits = data.draw(EXITS.filter(bool))
    length = data.draw(st.integers(6, 40))
    generator = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    opens = 50 * np.exp(np.cumsum(0.03 * generator.standard_normal((length, 1)), axis=0))
    spread = np.exp(0.02 * np.abs(generator.standard_normal((2, length, 1))))
    lows, highs = opens / spread[0], opens * spread[1]
    traded = generator.random(opens.shape) >= data.draw(st.sampled_from([0.0, 0.2]))
    ready = generator.random(opens.shape) >= data.draw(st.sampled_from([0.0, 0.2]))
    dataset = replace(a_dataset(opens, traded, ready, np.ones(length, dtype=np.int64)), lows=lows, highs=highs)
    signals = generator.choice([-0.5, -0.2, 0.0, 0.2, 0.5], (length - 2, 1))
    asked = np.where(np.abs(signals) > 0.15, WHOLE * np.sign(signals), 0.0)
    terms = Terms(rates(Costs(bps_per_side=1), ("equity",)), Rebalancing(band=0.0), exits=exits)
    wanted = Wanted(asked[None], signals[None], np.full((1, *asked.shape), WHOLE))
    positions = Market(dataset, 0, length - 3).run(wanted, [terms])[0].positions[:, 0]

    side, entered, barred, waiting = 0, 0, 0.0, None
    for bar in range(length - 2):
        if traded[bar, 0] and ready[bar, 0]:
            since = np.arange(entered, bar + 1)[traded[entered : bar + 1, 0]] if side else np.array([bar])
            held = Held(side, len(since), opens[since[0], 0], lows[since, 0].min(), highs[since, 0].max())
            said = [np.array([[value]]) for value in (asked[bar, 0], signals[bar, 0], WHOLE)]
            weight, still, _ = decide(Levels.of([exits]), *said, held, np.array([[barred]]))
            waiting, barred = float(weight[0, 0]), float(still[0, 0])
        if traded[bar + 1, 0] and waiting is not None:
            # a change of sign closes first
            aim, waiting = (0.0 if waiting * side < 0 else waiting), None
            if aim and not side:
                entered = bar + 1
            side = int(np.sign(aim))
            assert positions[bar] == pytest.approx(aim, abs=1e-12)
        assert np.sign(positions[bar]) == side
