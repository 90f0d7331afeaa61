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
    return backtest(data, hypothesis).run({"t0000000": hypothesis.training.combinations()[0]})["t0000000"]


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


def test_costs_are_paid_on_every_change_also_the_first() -> None:
    path = run(worlds.dataset(symbols=("AA", "BB")))
    previous = np.zeros(2)
    for position, cost in zip(path.positions, path.costs, strict=True):
        assert cost == pytest.approx(0.0002 * np.abs(position - previous))
        previous = position
    assert path.costs.sum() > 0
    assert set(np.unique(path.positions)) == {0.0, 0.5}


def test_a_missing_bar_is_neither_held_nor_earned_and_shortens_no_horizon() -> None:
    data = worlds.dataset()
    opens = data.opens.copy()
    opens[800] = np.nan
    path = run(replace(data, opens=opens))
    place = {session: number for number, session in enumerate(path.sessions)}
    for session in (798, 799):  # enters at 799's open and leaves at 800's; enters at 800's
        number = place[data.sessions[session]]
        assert path.positions[number, 0] == path.asset_returns[number, 0] == 0
    assert np.isfinite(path.net_returns).all()


def test_rows_that_are_not_ready_are_not_traded() -> None:
    data = worlds.dataset()
    ready, features = data.ready.copy(), data.features.copy()
    ready[700:750], features[700:750] = False, np.nan
    path = run(replace(data, ready=ready, features=features))
    unready = np.isin(path.sessions, data.sessions[700:750])
    assert unready.sum() == 50
    assert np.isnan(path.scores[unready]).all()
    assert (path.positions[unready] == 0).all()


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
    parameters = hypothesis.training.combinations()[0]
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
