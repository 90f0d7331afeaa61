"""The backtest decides on what was known, earns what followed, and pays for every change."""

import logging
from dataclasses import replace

import numpy as np
import pytest

from tests.training import worlds
from training import backtest as backtests
from training import models, targets, units
from training.accounting import Market
from training.backtest import Backtest, TrialPath
from training.dataset import Dataset
from training.hypothesis import Hypothesis
from training.models import ModelError, Sample
from training.rows import Rows
from training.train import Search
from training.units import Unit
from training.walk_forward import split

pytestmark = pytest.mark.long


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


@pytest.mark.long
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


def test_a_later_end_changes_no_earlier_fold() -> None:
    data = worlds.dataset()
    training = {"start": "2000-01-01", "device": "cpu", "xgboost": {"n_estimators": 30, "max_depth": 1}}
    hypothesis = worlds.hypothesis(training=training | {"fold_bars": 150, "first_train_bars": 400})
    cut = replace(
        data, sessions=data.sessions[:900], opens=data.opens[:900], features=data.features[:900], ready=data.ready[:900]
    )
    paths = []
    for known in (cut, data):
        _, one = next(iter(Search(hypothesis, known, "cpu", "run").trials.values()))
        paths.append(one.run({"t0000000": hypothesis.training.xgboost})["t0000000"])
    before, after = paths
    count = len(before.sessions)
    assert (count, len(after.sessions)) == (3 * 150, 5 * 150)
    for name in ("sessions", "fold", "scores", "positions", "asset_returns"):
        assert getattr(before, name).tobytes() == getattr(after, name)[:count].tobytes(), name
    # the last bar of the shorter record pays its exit
    assert before.costs[:-1].tobytes() == after.costs[: count - 1].tobytes()


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
    assert path.coverage == (1 - 1 / len(path.sessions),)
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
        ({"kind": "multiclass", "quantiles": 4}, {"policy": "proportional", "short": True}),
        ({"kind": "regression", "horizon": 3}, {"policy": "proportional", "full_at": 0.01}),
        ({"kind": "triple_barrier", "up": 0.012, "down": 0.012, "horizon": 2}, {"policy": "long_flat"}),
    ],
)
def test_other_targets_and_policies_find_the_edge_too(target: dict, sizing: dict) -> None:
    hypothesis = worlds.hypothesis(target=target, position_sizing=sizing)
    path = run(worlds.dataset(), hypothesis)
    assert path.skill_out_of_sample > 0.01
    assert path.net_returns.sum() > 0
    assert (path.positions.min() < 0) == hypothesis.position_sizing.may_short


def with_volatility(data: Dataset) -> Dataset:
    """The second feature is the volatility of a bar, one percent in the mean."""
    features = data.features.copy()
    features[:, :, 1] = 0.01 * np.exp(0.3 * np.tanh(features[:, :, 1]))
    return replace(data, features=features, fingerprints={"volume_surprise": "v1", "volatility_20": "w1"})


@pytest.mark.parametrize(
    ("target", "sizing"),
    [
        ({"kind": "rank"}, {"policy": "top_bottom_k", "top": 1, "bottom": 1, "max_net": 0.0}),
        ({"kind": "volatility_scaled"}, {"policy": "kelly", "short": True}),
        ({"kind": "binary"}, {"policy": "volatility_target", "target_volatility": 0.008}),
    ],
)
def test_a_panel_is_ranked_and_weighed_by_its_volatility(target: dict, sizing: dict) -> None:
    symbols = ("AA", "BB", "CC")
    hypothesis = worlds.hypothesis(symbols=symbols, target=target, position_sizing=sizing)
    path = run(with_volatility(worlds.dataset(symbols=symbols)), hypothesis)
    assert path.skill_out_of_sample > 0.01
    assert path.net_returns.sum() > 0.5
    assert np.abs(path.positions).sum(axis=1).max() < 1.1
    if sizing["policy"] == "top_bottom_k":
        net = np.abs(path.positions.sum(axis=1))
        assert np.median(net) < 0.1, "as much short as long, but while a symbol changes its side"


def test_who_leaves_a_universe_is_sold_and_not_ranked() -> None:
    symbols = ("AA", "BB", "CC")
    sizing = {"policy": "top_bottom_k", "top": 1}
    hypothesis = worlds.hypothesis(symbols=[], universe="three", target={"kind": "rank"}, position_sizing=sizing)
    data = worlds.dataset(symbols=symbols)
    member = np.ones(data.opens.shape, dtype=bool)
    member[800:, 2] = False
    features = np.where((data.ready & member)[..., None], data.features, np.nan)
    path = run(replace(data, member=member, ready=data.ready & member, features=features), hypothesis)
    left = path.sessions >= data.sessions[800]
    assert np.abs(path.positions[~left, 2]).max() > 0.9
    assert (path.positions[left, 2] == 0).all()
    assert np.isnan(path.scores[left, 2]).all()
    assert path.coverage == (1.0, 1.0, 1.0)
    values = targets.values(hypothesis.target, replace(data, member=member)).values
    assert set(np.unique(values[800:-2, :2])) == {-1.0, 1.0}, "two are ranked, and the third is not among them"
    # bought and held is who was a member at the first open
    assert (path.benchmark_returns[:, 2] != 0).any()
    late = replace(data, member=~member, ready=data.ready, features=data.features)
    assert (Market(late, 600, 1100).held[0] == 0).tolist() == [True, True, True]


def test_holes_do_not_double_a_ranking() -> None:
    """Where the symbol to sell has no bar, the symbol to buy waits."""
    symbols = ("AA", "BB", "CC")
    sizing = {"policy": "top_bottom_k", "top": 1}
    hypothesis = worlds.hypothesis(symbols=symbols, target={"kind": "rank"}, position_sizing=sizing)
    data = worlds.dataset(symbols=symbols)
    holes = np.random.default_rng(3).random(data.opens.shape) < 0.1
    path = run(replace(data, opens=np.where(holes, np.nan, data.opens)), hypothesis)
    assert np.abs(path.positions).sum(axis=1).max() < 1.1


@pytest.mark.long
@pytest.mark.parametrize(
    "changes",
    [
        {"booster": "gblinear", "reg_lambda": 0.01},
        {"booster": "dart", "rate_drop": 0.1},
        {"max_bin": 16, "scale_pos_weight": 1.5},
        {"class_weights": "balanced"},
        {"class_weights": (1.0, 3.0)},
        {"early_stopping_rounds": 3},
    ],
)
def test_each_booster_and_weight_is_fitted_and_read_back(changes: dict) -> None:
    training = {"start": "2000-01-01", "device": "cpu", "xgboost": {"n_estimators": 40, **changes}}
    path = run(worlds.dataset(), worlds.hypothesis(training=training))
    assert path.net_returns.sum() > 0
    assert (path.scores != run(worlds.dataset()).scores).any(), "it makes a difference"


def test_trees_stop_when_they_no_longer_help_and_a_constraint_holds() -> None:
    xgboost = {"n_estimators": 400, "max_depth": 4, "min_child_weight": 1, "early_stopping_rounds": 5,
               "monotone_constraints": {"wind_direction": -1}}  # fmt: skip
    hypothesis = worlds.hypothesis(training={"start": "2000-01-01", "device": "cpu", "xgboost": xgboost})
    data = worlds.dataset()
    package = backtest(data, hypothesis).package(hypothesis.training.xgboost, np.arange(900), "t0000000")
    assert 5 < package._predictor.num_boosted_rounds() < 200
    wind = np.linspace(-3, 3, 50)
    for surprise in (-1.0, 0.0, 2.0):
        predicted = package.predict(np.column_stack([np.full(50, surprise), wind]))
        assert (np.diff(predicted) <= 0).all()


def test_quantile_classes_of_a_fold_are_cut_by_its_training_bars() -> None:
    data = worlds.dataset()
    steps = np.diff(np.log(data.opens), axis=0, prepend=np.log(data.opens[:1]))
    steps[900:] *= 3  # what was extreme is common later
    engine = backtest(
        replace(data, opens=np.exp(steps.cumsum(axis=0))),
        worlds.hypothesis(target={"kind": "multiclass", "quantiles": 3}),
    )
    fold = engine.folds[-1]
    returns, usable = engine.target_values.values[:, 0], engine.dataset.is_decided[:, 0]
    known = returns[fold.train][usable[fold.train]]
    low, high = np.quantile(known, [1 / 3, 2 / 3])
    assert low < 0 < high
    classes = [(values >= low).astype(int) + (values > high) for values in (known, returns[fold.test])]
    shares = np.bincount(classes[0], minlength=3) / len(known)
    outcomes = np.eye(3)[classes[1]]
    _, base = engine.fold(fold, engine.hypothesis.training.xgboost, "t0000000").out_of_sample
    assert base == pytest.approx(((outcomes - shares) ** 2).sum())


def test_no_label_of_the_fitted_rows_reaches_into_those_that_stop_them() -> None:
    sample = Sample(Rows.of(np.zeros((200, 1))), np.zeros(200), ("f",), np.repeat(np.arange(100), 2), horizon=4)
    fitted, judged = sample.inner(0.2)
    assert (judged.bars.min(), len(judged.labels)) == (80, 40)
    assert fitted.bars.max() + 1 + sample.horizon == 79


def test_labels_that_overlap_count_less() -> None:
    """Of a horizon of five bars each label shares four of five with others, but for the first and the last ones."""
    training = {"start": "2000-01-01", "device": "cpu", "xgboost": {"n_estimators": 20, "class_weights": (1.0, 3.0)}}
    wide = {"target": {"kind": "binary", "horizon": 5}}
    data, every = worlds.dataset(), np.arange(300)
    equal = backtest(data, worlds.hypothesis(training=training, **wide))
    unique = backtest(data, worlds.hypothesis(training={**training, "sample_weights": "uniqueness"}, **wide))
    assert equal.sample(every, every).counts is None
    sample, parameters = unique.sample(every, every), unique.hypothesis.training.xgboost
    assert sample.counts[5:-5] == pytest.approx(0.2)
    assert (sample.counts[[0, -1]] > 0.4).all()
    by_class = models.weights(sample.labels, unique.hypothesis.target, parameters)
    by_row = models.weights(sample.labels, unique.hypothesis.target, parameters, sample.counts)
    assert (by_row / by_class).mean() == pytest.approx(1)
    fitted, _ = sample.inner(0.2)
    assert len(fitted.counts) == len(fitted.labels)
    # of one bar each is its own
    one = backtest(data, worlds.hypothesis(training={**training, "sample_weights": "uniqueness"}))
    assert (one.sample(every, every).counts == 1).all()
    scores = [made.run({"t0000000": parameters})["t0000000"].scores for made in (equal, unique)]
    assert not np.array_equal(*scores, equal_nan=True)


def test_a_search_says_how_far_it_is(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr(units, "SECONDS", -1.0)
    hand_out = units.local(backtest(worlds.dataset(), worlds.hypothesis()))
    with caplog.at_level(logging.INFO, "truebar"):
        assert [done for _, done in hand_out([Unit("t", fold) for fold in (1, 2, 3)], lambda unit: unit.fold)] == [
            1,
            2,
            3,
        ]
    assert caplog.messages == ["made_up: 1 of 3 fits are done", "made_up: 2 of 3 fits are done"]


def test_one_class_is_said_with_fold_and_count() -> None:
    hypothesis = worlds.hypothesis(target={"kind": "binary", "threshold": 0.5})
    with pytest.raises(ModelError, match=r"made_up, fold 1 of 5 \(481 bars\): every label .* all 461 are of class 0"):
        run(worlds.dataset(), hypothesis)


def test_a_search_over_horizons_and_features_shares_its_bars() -> None:
    hypothesis = worlds.hypothesis(training={
        "start": "2000-01-01", "device": "cpu", "xgboost": {"n_estimators": 20},
        "grid": {"target.horizon": [1, 5], "features": [["volume_surprise"], ["wind_direction"]]},
    }, feature_groups=[])  # fmt: skip
    data = replace(worlds.dataset(), groups=("volume", "volume"))
    search = Search(hypothesis, data, "cpu", "run")
    paths = backtests.run({trial: (one, one.hypothesis.training.xgboost) for trial, (_, one) in search.trials.items()})
    assert len(paths) == 4
    informed, blind, informed_week, _ = paths.values()
    assert (informed.sessions == informed_week.sessions).all()
    assert informed.skill_out_of_sample > 0.05 > 0.01 > blind.skill_out_of_sample
    alone = search.trials[next(iter(paths))][1].run({"x": hypothesis.training.xgboost})["x"]
    assert alone.net_returns.tobytes() == informed.net_returns.tobytes(), "others beside it change nothing"


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


@pytest.mark.long
def test_the_number_of_cores_does_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    data = worlds.dataset()
    monkeypatch.setenv("TRUEBAR_TRAINING_THREADS", "1")
    one = run(data)
    monkeypatch.setenv("TRUEBAR_TRAINING_THREADS", "7")
    assert run(data).scores.tobytes() == one.scores.tobytes()
