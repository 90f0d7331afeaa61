"""Stops, targets and ages on small made-up prices: what other backtests were reported to get wrong is right here."""

from dataclasses import replace

import numpy as np
import pytest

from models_registry.exits import Exits, Held, Levels, decide
from models_registry.rebalancing import Rebalancing
from tests.training import worlds
from tests.training.test_accounting import a_dataset
from training.accounting import Market, Terms, Wanted
from training.backtest import Backtest
from training.costs import Costs, rates
from training.walk_forward import split


def positions(
    opens: list[float],
    exits: Exits,
    *,
    lows: list[float] | None = None,
    highs: list[float] | None = None,
    weights: list[float] | None = None,
    scores: list[float] | None = None,
) -> tuple[list[float], list[float]]:
    """What is held in the bar after each decision, and what that returned before costs."""
    grid = np.array(opens)[:, None]
    dataset = a_dataset(grid, np.isfinite(grid), np.isfinite(grid), np.full(len(opens), 24))
    low, high = (grid if said is None else np.array(said)[:, None] for said in (lows, highs))
    market = Market(replace(dataset, lows=low, highs=high), 0, len(opens) - 3)
    asked = np.array(weights or [1.0] * (len(opens) - 2))[None, :, None]
    signals = asked if scores is None else np.array(scores)[None, :, None]
    terms = Terms(rates(Costs(bps_per_side=1), ("equity",)), Rebalancing(band=0.0), exits=exits)
    account = market.run(Wanted(asked, signals, np.ones_like(asked)), [terms])[0]
    held = account.positions[:, 0]
    return held.round(9).tolist(), (held * market.returns[:, 0]).round(9).tolist()


def test_the_low_of_the_entry_s_own_bar_counts() -> None:
    """vectorbt 636: a stop from the bar's close, or from the next bar on, never sees this fall."""
    held, _ = positions([100, 100, 100, 100, 100], Exits(stop_loss=0.05), lows=[100, 94, 100, 100, 100])
    assert held == [1, 0, 0]


def test_a_gap_through_the_stop_is_paid_whole() -> None:
    """backtesting.py 1340, freqtrade 12934: what is sold at the next open gets that open, not the stop's price."""
    held, earned = positions([100, 100, 100, 80, 60, 60], Exits(stop_loss=0.05), lows=[100, 100, 94, 80, 60, 60])
    assert held == [1, 1, 0, 0]
    assert earned == [0, -0.2, 0, 0]


def test_nothing_is_taken_again_while_the_same_signal_lasts() -> None:
    """vectorbt 530: a stop that is followed by the same entry at the same open only pays twice."""
    weights = [1.0, 1.0, 1.0, 0.0, 1.0, 1.0]
    held, _ = positions([100] * 8, Exits(stop_loss=0.05), lows=[100, 94, *[100] * 6], weights=weights)
    assert held == [1, 0, 0, 0, 1, 1]


def test_a_larger_position_moves_no_stop() -> None:
    """freqtrade 13431: the stop is measured from the entry, whatever was bought since."""
    weights = [0.2, 0.2, 1.0, 1.0, 1.0]
    prices = [100, 100, 120, 120, 112, 112, 112]
    held, _ = positions(prices, Exits(stop_loss=0.05), weights=weights)
    assert held == [0.2, 0.2, 1, 1, 1], "112 is 7 % below what most was bought at, and 12 % above the entry"


@pytest.mark.parametrize(("low", "expected"), [(90.0, 0.0), (90.0001, 1.0)])
def test_a_tenth_is_a_tenth(low: float, expected: float) -> None:
    """90 / 100 - 1 is -0.09999999999999998."""
    held, _ = positions([100] * 4, Exits(stop_loss=0.1), lows=[100, low, 100, 100])
    assert held[1] == expected


def test_a_bar_that_reaches_both_counts_as_the_stop() -> None:
    held = Held(
        np.array([[1.0, -1.0]]), np.ones((1, 2)), np.full((1, 2), 100.0), np.full((1, 2), 94.0), np.full((1, 2), 106.0)
    )
    one = np.ones((1, 2))
    levels = Levels.of([Exits(stop_loss=0.05, take_profit=0.05)])
    weights, barred, why = decide(levels, one, one, one, held, np.zeros((1, 2)))
    assert (weights.tolist(), barred.tolist(), why.tolist()) == ([[0, 0]], [[1, -1]], [["stop_loss", "stop_loss"]])


def test_a_short_stops_at_the_high() -> None:
    weights = [-1.0] * 4
    held, _ = positions([100] * 6, Exits(stop_loss=0.05), highs=[100, 106, *[100] * 4], weights=weights)
    assert held == [-1, 0, 0, 0]
    held, _ = positions([100] * 6, Exits(take_profit=0.05), lows=[100, 94, *[100] * 4], weights=weights)
    assert held == [-1, 0, 0, 0]


def test_an_age_is_counted_in_bars_with_trades_and_is_the_horizon() -> None:
    """Bought at the open of bar 1, sold at that of bar 4: what a label of horizon 3 measures."""
    held, _ = positions([100] * 8, Exits(max_bars=3))
    assert held == [1, 1, 1, 0, 0, 0]
    held, _ = positions([100, 100, np.nan, np.nan, 100, 100, 100, 100], Exits(max_bars=3))
    assert held == pytest.approx([1, 1, 1, 1, 1, 0], abs=1e-3)


def test_a_score_between_exit_and_entry_keeps_and_never_takes() -> None:
    weights, scores = [0.0, 1.0, 0.0, 0.0, 0.0, 0.0], [0.05, 0.3, 0.05, -0.05, -0.2, 0.05]
    held, _ = positions([100] * 8, Exits(score=-0.1), weights=weights, scores=scores)
    assert held == [0, 1, 1, 1, 0, 0]


def test_a_doubtful_range_is_its_open() -> None:
    nan = float("nan")
    held, _ = positions([100, 100, 100, 94, 94, 94], Exits(stop_loss=0.05), lows=[nan] * 6, highs=[nan] * 6)
    assert held == [1, 1, 1, 0]


@pytest.mark.long
def test_a_trial_with_exits_keeps_its_package_and_changes_no_trial_beside_it() -> None:
    training = {"start": "2000-01-01", "device": "cpu", "xgboost": {"n_estimators": 20}}
    data = worlds.dataset()
    folds = split(len(data.sessions), folds=5, out_of_sample_fraction=0.6, horizon=1)
    plain, leaving = (
        Backtest(worlds.hypothesis(training=training, exits=exits), data, folds, "cpu", "run")
        for exits in (None, {"stop_loss": 0.015, "max_bars": 4})
    )
    alone, left = (one.run({"t0000000": one.hypothesis.training.xgboost})["t0000000"] for one in (plain, leaving))
    assert alone.scores.tobytes() == left.scores.tobytes()
    assert 0 < (left.positions > 0).sum() < (alone.positions > 0).sum()
    packages = [one.package(one.hypothesis.training.xgboost, folds[0].train, "t0000000") for one in (plain, leaving)]
    assert [package.exits for package in packages] == [None, Exits(stop_loss=0.015, max_bars=4)]
    assert "exits" not in packages[0]._document()
