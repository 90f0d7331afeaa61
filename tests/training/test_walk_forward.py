"""Folds: ordered, complete, and no training label reaches into the test."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.walk_forward import (
    MINIMUM_TRAINING_SESSIONS,
    UNFINISHED_SESSIONS,
    HorizonTooLong,
    TooFewSessions,
    anchored,
    split,
)


@given(
    sessions=st.integers(900, 5000),
    folds=st.integers(2, 8),
    fraction=st.floats(0.3, 0.6),
    horizon=st.integers(1, 20),
)
def test_no_label_of_a_training_session_is_known_after_the_test_begins(
    sessions: int, folds: int, fraction: float, horizon: int
) -> None:
    made = split(sessions, folds=folds, out_of_sample_fraction=fraction, horizon=horizon)
    assert [fold.number for fold in made] == list(range(1, folds + 1))
    for fold in made:
        label_ends = fold.train + 1 + horizon
        assert label_ends.max() == fold.test[0] - 1, "purged by just what is needed"
        assert fold.train[0] == 0, "expanding"
        assert len(fold.train) >= MINIMUM_TRAINING_SESSIONS
    tested = np.concatenate([fold.test for fold in made])
    assert (np.diff(tested) == 1).all()
    assert tested[-1] == sessions - 1 - UNFINISHED_SESSIONS
    assert abs(len(tested) - fraction * sessions) <= folds + 2


def test_the_window_does_not_depend_on_the_horizon() -> None:
    windows = {
        tuple(fold.test[[0, -1]])
        for horizon in (1, 5, 20)
        for fold in split(2000, folds=5, out_of_sample_fraction=0.6, horizon=horizon)
    }
    assert len(windows) == 5


def test_too_little_history_is_said() -> None:
    with pytest.raises(TooFewSessions, match=r"600 bars leave 241 .* it takes 250: about 23 more are needed"):
        split(600, folds=5, out_of_sample_fraction=0.6, horizon=1)


def test_a_rolling_window_has_its_length_and_the_same_tests() -> None:
    settings = {"folds": 5, "out_of_sample_fraction": 0.6, "horizon": 3}
    rolling, expanding = split(2000, **settings, window=400), split(2000, **settings)
    assert [len(fold.train) for fold in rolling] == [400] * 5
    for one, other in zip(rolling, expanding, strict=True):
        assert one.train[-1] == other.train[-1]
        assert (one.test == other.test).all()


def test_a_window_that_history_does_not_fill_is_said() -> None:
    with pytest.raises(TooFewSessions, match=r"2000 bars leave 801 .* it takes 900: about 248 more"):
        split(2000, folds=5, out_of_sample_fraction=0.6, horizon=1, window=900)


def test_a_horizon_longer_than_a_fold_is_said() -> None:
    with pytest.raises(HorizonTooLong, match="a horizon that spans 120 bars is longer than a fold, which has 119"):
        split(1000, folds=5, out_of_sample_fraction=0.6, horizon=120)


def labels_of(bars: int, horizon: int, gaps: int) -> np.ndarray:
    """When labels are known on a grid of two symbols: one has each bar, of the other every so many are missing."""
    known_at = np.full((bars, 2), -1)
    known_at[: bars - horizon - 1, 0] = np.arange(1 + horizon, bars)
    own = np.flatnonzero(np.arange(bars) % gaps > 0)
    known_at[own[: -horizon - 1], 1] = own[1 + horizon :]
    return known_at


@given(
    bars=st.integers(500, 900),
    more=st.integers(0, 300),
    horizon=st.integers(1, 10),
    gaps=st.integers(3, 40),
    first=st.integers(250, 300),
    length=st.integers(30, 60),
    window=st.sampled_from([None, 100]),
)
def test_more_bars_add_folds_and_change_none(
    bars: int, more: int, horizon: int, gaps: int, first: int, length: int, window: int | None
) -> None:
    whole = labels_of(bars + more, horizon, gaps)
    # as it was known when there were fewer bars
    cut = np.where(whole < bars, whole, -1)[:bars]
    settings = {"first_train_bars": first, "fold_bars": length, "horizon": 2 * horizon, "window": window}
    before, after = anchored(cut, **settings), anchored(whole, **settings)
    assert len(before) == (bars - UNFINISHED_SESSIONS - first) // length
    for one, other in zip(before, after[: len(before)], strict=True):
        assert one.number == other.number
        assert (one.train.tolist(), one.test.tolist()) == (other.train.tolist(), other.test.tolist())
        assert whole[one.train].max() < one.test[0], "no label reaches into the test"
        assert len(one.test) == length
    assert np.concatenate([fold.test for fold in after]).tolist() == list(range(first, first + len(after) * length))


def test_what_anchored_folds_lack_is_said() -> None:
    known_at = labels_of(400, 1, 50)
    with pytest.raises(TooFewSessions, match="3 folds of 60 bars after 250 take 432 bars, and there are 400: 32 more"):
        anchored(known_at, first_train_bars=250, fold_bars=60, horizon=1)
    with pytest.raises(HorizonTooLong, match="a horizon that spans 60 bars is longer than a fold, which has 60"):
        anchored(known_at, first_train_bars=250, fold_bars=60, horizon=60)
