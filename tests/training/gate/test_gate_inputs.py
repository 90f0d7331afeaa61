"""Bad evidence and bad thresholds get one clear sentence."""

import numpy as np
import pytest

from training.gate import Family, GateInputError, ThresholdError, Thresholds, level_of_look


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
    with pytest.raises(GateInputError, match="asset_returns is not a finite number on day 17, symbol column 1"):
        trial_of(*paths)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"fold": np.arange(200)[::-1]}, "never decreasing"),
        ({"fold": np.zeros(3)}, "each of the 200 days"),
        ({"cost_rate": -1.0}, "cost_rate is -1.0"),
        ({"cost_rate": float("nan")}, "cost_rate is nan"),
    ],
)
def test_bad_evidence_is_refused(trial_of, paths, changes, sentence):
    with pytest.raises(GateInputError, match=sentence):
        trial_of(*paths, **changes)


def test_positions_and_returns_have_one_shape(trial_of, paths):
    with pytest.raises(GateInputError, match="shape"):
        trial_of(paths[0][:-1], paths[1])


def test_a_family_shares_one_calendar(trial_of, paths):
    held, moves = paths
    with pytest.raises(GateInputError, match="one shared calendar"):
        Family((trial_of(held, moves, "a"), trial_of(held[:-1], moves[:-1], "b")), 252)
    with pytest.raises(GateInputError, match="b and trial a differ in the symbols' own returns"):
        Family((trial_of(held, moves, "a"), trial_of(held, np.roll(moves, 1, axis=0), "b")), 252)


def test_a_revised_price_and_missing_rows_are_still_the_same_calendar(trial_of, paths):
    held, moves = paths
    revised = moves.copy()
    revised[50] *= 1.01
    revised[60:70] = 0
    assert Family((trial_of(held, moves, "a"), trial_of(held, revised, "b")), 252).years == pytest.approx(200 / 252)


@pytest.mark.parametrize(
    ("ids", "periods", "sentence"),
    [
        ([], 252, "no trial"),
        (["a", "a"], 252, "a is in the family more than once"),
        (["a"], 0, "periods_per_year is 0"),
    ],
)
def test_a_family_must_make_sense(trial_of, paths, ids, periods, sentence):
    with pytest.raises(GateInputError, match=sentence):
        Family(tuple(trial_of(*paths, trial_id) for trial_id in ids), periods)


def test_thresholds_can_be_tightened():
    tightened = Thresholds().tighten({"net_sharpe": 1.2, "cscv_loss": 0.1, "strict": True, "turnover": 200})
    assert (tightened.net_sharpe, tightened.cscv_loss, tightened.strict) == (1.2, 0.1, True)
    assert tightened.exposure == Thresholds().exposure


@pytest.mark.parametrize(
    ("override", "sentence"),
    [
        ({"net_sharpe": 0.5}, r"gate.net_sharpe may only be tightened: 0.5 is looser than 0.7; allowed: >= 0.7."),
        ({"shift_p": 0.06}, r"gate.shift_p may only be tightened: 0.06 is looser than 0.05; allowed: <= 0.05."),
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
    assert level_of_look(0.05, 1) == pytest.approx(0.025)
    assert sum(level_of_look(0.05, k) for k in range(1, 100_000)) == pytest.approx(0.05, rel=1e-4)
    assert sum(level_of_look(0.05, k) for k in range(1, 100_000)) < 0.05


def test_strict_takes_the_reality_check_to_one_percent():
    assert Thresholds(strict=True).reality_check_level(1) == pytest.approx(0.005)
    assert Thresholds(strict=True, reality_check_p=0.004).reality_check_level(1) == pytest.approx(0.002)
    assert Thresholds(strict=True).shift_level(1) == pytest.approx(0.025)
