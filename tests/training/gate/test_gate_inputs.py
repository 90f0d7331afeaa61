"""Bad evidence and bad thresholds get one clear sentence."""

import numpy as np
import pytest

from training.gate import GateInputError, Search, ThresholdError, Thresholds, judge, level_of_look


def look(search):
    return judge(search, look_no=1, thresholds=Thresholds(), seed=7)


@pytest.fixture
def paths():
    rng = np.random.default_rng(0)
    return (rng.random((200, 2)) < 0.5) / 2, rng.normal(0, 0.01, (200, 2))


def test_costs_are_charged_on_every_change_from_nothing_on(trial_of):
    trial = trial_of([0.5, 0.5, -0.5, 0.0], [0.01, -0.02, 0.03, 0.04], cost_rate=0.001)
    assert trial.position_changes.tolist() == [0.5, 0, 1.0, 0.5]
    assert trial.net_returns == pytest.approx([0.005 - 0.0005, -0.01, -0.015 - 0.001, -0.0005])
    assert trial.net_returns_at(2) == pytest.approx([0.005 - 0.001, -0.01, -0.015 - 0.002, -0.001])


def test_the_benchmark_holds_all_symbols_alike(trial_of, paths):
    assert trial_of(*paths).benchmark_returns == pytest.approx(paths[1].mean(axis=1))


def test_evidence_is_a_copy_that_cannot_be_changed(trial_of, paths):
    trial = trial_of(*paths)
    paths[0][0, 0] = 99
    assert trial.positions[0, 0] != 99
    with pytest.raises(ValueError, match="read-only"):
        trial.positions[0, 0] = 1


def test_a_value_that_is_not_a_number_is_named(trial_of, paths):
    paths[1][17, 1] = np.nan
    with pytest.raises(GateInputError, match="asset_returns is not a finite number on 2010-01-18, symbol column 1"):
        trial_of(*paths)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"fold": np.arange(200)[::-1]}, "never decreasing"),
        ({"fold": np.zeros(3)}, "each of the 200 bars"),
        ({"cost_rate": -1.0}, "costs must hold a number for each bar, in sum >= 0"),
        ({"cost_rate": float("nan")}, "costs must hold a number for each bar"),
        ({"day": np.array(["2010-01-01"] * 199 + ["NaT"], "datetime64[D]")}, "day must hold one date"),
        ({"day": np.datetime64("2010-01-01") - np.arange(200)}, "day must hold one date"),
        ({"max_weight": 0.0}, "max_weight is 0.0"),
        ({"symbols": ("A",)}, "each of the 2 columns has a symbol"),
    ],
)
def test_bad_evidence_is_refused(trial_of, paths, changes, sentence):
    with pytest.raises(GateInputError, match=sentence):
        trial_of(*paths, **changes)


def test_positions_and_returns_have_one_shape(trial_of, paths):
    with pytest.raises(GateInputError, match="shape"):
        trial_of(paths[0][:-1], paths[1])


def test_trials_meet_on_the_days_that_they_share(trial_of, paths):
    held, moves = paths
    judged = trial_of(held, moves, "a")
    other = trial_of(held[:120], moves[:120], "b", first="2010-03-02")
    stranger = trial_of(held[:30], moves[:30], "c", first="2010-07-15")
    search = Search((judged, other, stranger), 252, ("a",))
    assert search.calendar.tolist() == judged.days.tolist()
    assert search.present[:, 1].tolist() == [60 <= day < 180 for day in range(200)]
    assert search.net[60:180, 1].tolist() == other.net_returns.tolist()
    assert not search.present[:, 2].any(), "five common days say nothing"
    alone, among = look(Search((judged,), 252)), look(search)
    assert alone.keys() == among.keys()


def test_bars_of_a_day_are_compounded_and_compared_by_day(trial_of):
    rng = np.random.default_rng(3)
    moves = rng.normal(0, 0.01, (9, 2))
    day = np.datetime64("2020-01-01") + np.array([0, 0, 0, 1, 2, 2, 2, 2, 3])
    trial = trial_of(rng.random((9, 2)), moves, day=day, fold=np.zeros(9, dtype=int))
    bars = (trial.positions * moves).sum(axis=1) - trial.costs
    assert trial.net_returns == pytest.approx([np.prod(1 + bars[day == one]) - 1 for one in np.unique(day)])
    assert len(trial.benchmark_returns) == len(trial.days) == 4
    held, moved = trial.by_time_of_day
    assert held.shape == moved.shape == (4, 8)
    assert (held * moved).sum() == pytest.approx(trial.positions.ravel() @ moves.ravel())
    assert moved[1].tolist() == [*moves[3], 0, 0, 0, 0, 0, 0]


def test_days_without_data_are_no_years_and_do_not_pass(trial_of, paths):
    held, moves = paths[0].copy(), paths[1].copy()
    moves[60:] = 0
    trial = trial_of(held, moves)
    assert trial.years(252) == pytest.approx(60 / 252)
    (verdict,) = look(Search((trial,), 252)).values()
    coverage = next(check for check in verdict.checks if check.name == "coverage")
    assert (coverage.outcome, coverage.value) == ("failed", pytest.approx(0.3))
    assert "60 of 200 days" in verdict.explanation


def test_a_symbol_that_trades_hides_no_other_that_does_not(trial_of, paths):
    (verdict,) = look(Search((trial_of(*paths, coverage=(0.95, 0.3)),), 252)).values()
    coverage = next(check for check in verdict.checks if check.name == "coverage")
    assert (coverage.outcome, coverage.value) == ("failed", 0.3)
    assert "S1 traded in 30.0% of its bars" in coverage.explanation
    # a symbol that ended before the window has no bar to miss
    (verdict,) = look(Search((trial_of(*paths, coverage=(float("nan"), 0.9)),), 252)).values()
    assert next(check for check in verdict.checks if check.name == "coverage").value == 0.9
    with pytest.raises(GateInputError, match="coverage must hold a share for each of the 2 symbols"):
        trial_of(*paths, coverage=(0.9,))


@pytest.mark.parametrize(
    ("ids", "periods", "sentence"),
    [
        ([], 252, "no trial"),
        (["a", "a"], 252, "a is in the search more than once"),
        (["a"], 0, "periods_per_year is 0"),
    ],
)
def test_a_search_must_make_sense(trial_of, paths, ids, periods, sentence):
    with pytest.raises(GateInputError, match=sentence):
        Search(tuple(trial_of(*paths, trial_id) for trial_id in ids), periods)


def test_thresholds_can_be_tightened():
    tightened = Thresholds().tighten({"net_sharpe": 1.2, "cscv_loss": 0.1, "strict": True, "turnover": 200})
    assert (tightened.net_sharpe, tightened.cscv_loss, tightened.strict) == (1.2, 0.1, True)
    assert tightened.exposure == Thresholds().exposure


@pytest.mark.parametrize(
    ("override", "sentence"),
    [
        ({"net_sharpe": 0.5}, r"gate.net_sharpe may only be tightened: 0.5 is looser than 0.7; allowed: >= 0.7."),
        ({"luck_p": 0.2}, r"gate.luck_p may only be tightened: 0.2 is looser than 0.02; allowed: <= 0.02."),
        ({"sharp": 2}, r"gate.sharp is not a threshold of the gate; there are: turnover, exposure"),
        ({"net_sharpe": "high"}, r"gate.net_sharpe is 'high': Input should be a valid number"),
        ({"net_sharpe": float("nan")}, r"gate.net_sharpe is nan"),
        ({"positive_alpha_folds": 1.5}, r"gate.positive_alpha_folds is 1.5: Input should be less than or equal to 1"),
    ],
)
def test_looser_or_unknown_thresholds_are_refused(override, sentence):
    with pytest.raises(ThresholdError, match=sentence) as raised:
        Thresholds().tighten(override)
    assert "\n" not in str(raised.value)


def test_strictness_cannot_be_taken_back():
    with pytest.raises(ThresholdError, match="may only be turned on"):
        Thresholds(strict=True).tighten({"strict": False})


def test_all_looks_together_spend_the_level():
    assert sum(level_of_look(0.05, k) for k in range(1, 100_000)) == pytest.approx(0.05, rel=1e-3)
    assert sum(level_of_look(0.05, k) for k in range(1, 100_000)) < 0.05


def test_strict_spends_a_quarter():
    assert Thresholds(strict=True).luck_level(1) == pytest.approx(level_of_look(0.005, 1))
    assert Thresholds(strict=True, luck_p=0.004).luck_level(1) == pytest.approx(level_of_look(0.004, 1))
