"""The backtest decides on what was known, earns what followed, and pays for every change."""

from dataclasses import replace

import numpy as np
import pytest

from tests.training import worlds
from training.backtest import Backtest, TrialPath
from training.dataset import Dataset
from training.hypothesis import Hypothesis
from training.walk_forward import split


def backtest(data: Dataset, hypothesis: Hypothesis) -> Backtest:
    folds = split(len(data.sessions), folds=5, out_of_sample_fraction=0.6, horizon=hypothesis.target.horizon)
    return Backtest(hypothesis, data, folds, "cpu", "run")


def run(data: Dataset, hypothesis: Hypothesis | None = None) -> TrialPath:
    hypothesis = hypothesis or worlds.hypothesis(symbols=data.symbols)
    return backtest(data, hypothesis).run({"t0000000": hypothesis.training.xgboost})["t0000000"]


def test_a_planted_edge_is_earned() -> None:
    path = run(worlds.dataset())
    net = path.net_returns.sum(axis=1)
    assert net.mean() / net.std() * np.sqrt(252) > 2
    assert path.skill_out_of_sample > 0.05
    assert path.skill_in_sample - path.skill_out_of_sample < 0.1


def test_noise_is_not() -> None:
    path = run(worlds.dataset(strength=0.0))
    assert path.skill_out_of_sample < 0.01


@pytest.mark.parametrize("cut", [600, 777, 1000])
def test_changing_the_future_changes_no_decision_before_it(cut: int) -> None:
    data = worlds.dataset()
    generator = np.random.default_rng(0)
    features, opens = data.features.copy(), data.opens.copy()
    features[cut + 1 :] = generator.normal(size=features[cut + 1 :].shape)
    opens[cut + 1 :] *= np.exp(generator.normal(size=opens[cut + 1 :].shape))
    before, after = run(data), run(replace(data, features=features, opens=opens))
    known = before.sessions <= data.sessions[cut]
    assert 0 < known.sum() < len(known)
    assert before.scores[known].tobytes() == after.scores[known].tobytes()
    assert before.scores[~known].tobytes() != after.scores[~known].tobytes()


def test_a_position_earns_from_the_next_open_to_the_one_after() -> None:
    data = worlds.dataset()
    path = run(data)
    place = {session: number for number, session in enumerate(data.sessions)}
    for number in (0, 17, 400, len(path.sessions) - 1):
        session = place[path.sessions[number]]
        expected = data.opens[session + 2, 0] / data.opens[session + 1, 0] - 1
        assert path.asset_returns[number, 0] == expected


def test_costs_are_paid_on_every_trade_also_the_first_and_the_last() -> None:
    path = run(worlds.dataset(symbols=("AA", "BB")))
    assert path.costs[:-1] == pytest.approx(0.0002 * np.abs(path.trades[:-1]))
    assert path.costs.sum() > 0
    grown = path.positions[-1] * (1 + path.asset_returns[-1])
    assert path.costs[-1] == pytest.approx(0.0002 * (np.abs(path.trades[-1]) + np.abs(grown)))
    entered = (path.trades != 0) & (path.positions != 0)
    assert np.allclose(path.positions[entered], 0.5, atol=1e-12)


def test_a_position_is_held_across_a_missing_bar_and_earns_the_whole_move() -> None:
    """R1: 128.09, a quarantined bar, 63.28: a long position loses half of its value, and so does buy-and-hold."""
    data = worlds.dataset()
    opens, features = data.opens.copy(), data.features.copy()
    features[798:800, 0, 0] = 3.0
    opens[799], opens[800], opens[801:] = 128.09, np.nan, data.opens[801:] * 63.28 / data.opens[801]
    ready = data.ready.copy()
    ready[800] = False
    path = run(replace(data, opens=opens, features=features, ready=ready))
    place = {session: number for number, session in enumerate(path.sessions)}
    number = place[data.sessions[799]]
    assert path.positions[number - 1, 0] == pytest.approx(1.0, abs=1e-3)
    assert path.asset_returns[number - 1 : number + 1, 0] == pytest.approx([0.0, 63.28 / 128.09 - 1])
    assert path.positions[number, 0] == pytest.approx(1.0, abs=1e-3)
    assert path.benchmark_returns[number, 0] == path.asset_returns[number, 0]
    assert path.trades[number, 0] == 0, "there was no open to trade on"
    assert path.left_out["missing"] == 1
    assert np.isfinite(path.net_returns).all()


def test_nothing_is_learnt_or_traded_where_nobody_trades() -> None:
    """R2: trades end and flat bars go on."""
    data = worlds.dataset(strength=0.0)
    opens, traded = data.opens.copy(), np.ones_like(data.ready)
    opens[900:], traded[900:] = opens[899], False
    path = run(replace(data, opens=opens, traded=traded))
    known = run(worlds.dataset(strength=0.0))
    dead = path.sessions >= data.sessions[900]
    assert np.isnan(path.scores[dead]).all()
    assert (path.trades[dead] == 0).all()
    assert path.left_out["silent"] == dead.sum()
    assert abs(path.skill_out_of_sample - known.skill_out_of_sample) < 0.02, "flat bars are easily foretold"
    fold_5 = path.fold == 5
    assert dead[fold_5].all()


def test_rows_that_are_not_ready_are_not_traded() -> None:
    data = worlds.dataset()
    ready, features = data.ready.copy(), data.features.copy()
    ready[700:750], features[700:750] = False, np.nan
    path = run(replace(data, ready=ready, features=features))
    unready = np.isin(path.sessions, data.sessions[700:750])
    assert unready.sum() == path.left_out["unready"] == 50
    assert np.isnan(path.scores[unready]).all()
    assert (path.trades[unready] == 0).all(), "a session refuses such a bar: what is held stays held"


@pytest.mark.parametrize(
    ("target", "sizing"),
    [
        ({"kind": "multiclass", "threshold": 0.005}, {"policy": "long_short"}),
        ({"kind": "regression", "horizon": 3}, {"policy": "proportional", "full_at": 0.01}),
    ],
)
def test_other_targets_and_policies_find_the_edge_too(target: dict, sizing: dict) -> None:
    hypothesis = worlds.hypothesis(target=target, position_sizing=sizing)
    path = run(worlds.dataset(), hypothesis)
    assert path.skill_out_of_sample > 0.01
    assert path.net_returns.sum() > 0
    assert (path.positions.min() < 0) == (sizing["policy"] == "long_short")


def test_the_backtest_is_what_the_fold_package_says_alone() -> None:
    """The live session asks the package for one row; the backtest asked for a fold."""
    data, hypothesis = worlds.dataset(), worlds.hypothesis()
    engine = backtest(data, hypothesis)
    parameters = hypothesis.training.xgboost
    path = engine.run({"t0000000": parameters})["t0000000"]
    fold = engine.folds[2]
    package = engine.package(parameters, fold.train, "t0000000")
    rows = data.rows(fold.test)
    alone = [package.target_weights(rows.iloc[[number]])["score"].iloc[0] for number in range(len(rows))]
    assert np.array(alone).tobytes() == path.scores[path.fold == 3, 0].tobytes()


def test_the_number_of_cores_does_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    data = worlds.dataset()
    monkeypatch.setattr("os.cpu_count", lambda: 1)
    one = run(data)
    monkeypatch.setattr("os.cpu_count", lambda: 7)
    assert run(data).scores.tobytes() == one.scores.tobytes()
