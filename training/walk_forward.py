"""Walk-forward folds: the last part of the bars, or of one length from the first on; no label reaches into a test."""

from dataclasses import dataclass

import numpy as np
from sklearn.model_selection import TimeSeriesSplit

from warehouse.errors import Stop

MINIMUM_TRAINING_SESSIONS = 250
FEWEST_FOLDS = 3

# A decision at t earns the return from the open of t+1 to the open of t+2: the last two bars have none yet.
UNFINISHED_SESSIONS = 2


class TooFewSessions(Stop):
    """There is not enough history to train before the out-of-sample window."""


class HorizonTooLong(Stop):
    """The target looks further ahead than a fold lasts."""


@dataclass(frozen=True)
class Fold:
    """Ascending bar numbers: `train` for fitting, `test` for what the fitted model predicts. Numbered from 1."""

    number: int
    train: np.ndarray
    test: np.ndarray


def split(
    sessions: int, *, folds: int, out_of_sample_fraction: float, horizon: int, window: int | None = None
) -> tuple[Fold, ...]:
    """Folds over bar numbers 0 .. sessions-1. Training is everything before a fold, or its last `window` bars.

    `horizon` is in bars of the grid. The out-of-sample window does not depend on it, so hypotheses on the same data
    share it. The label of bar t ends at the open of t+1+horizon; training stops horizon+1 bars before the test begins,
    so that every label in it was known before the first decision of the test. Raises TooFewSessions, HorizonTooLong.
    """
    usable = sessions - UNFINISHED_SESSIONS
    size = int(usable * out_of_sample_fraction) // folds
    first_train = usable - folds * size - (horizon + 1)
    needed = max(window or 0, MINIMUM_TRAINING_SESSIONS)
    if first_train < needed or size < 1:
        raise TooFewSessions(
            f"{sessions} bars leave {max(first_train, 0)} to train the first fold on, and it takes {needed}: about "
            f"{_missing(first_train, needed, out_of_sample_fraction)} more are needed, so start earlier, or load more "
            "history"
        )
    if horizon + 1 > size:
        raise HorizonTooLong(
            f"a horizon that spans {horizon} bars is longer than a fold, which has {size}: take a shorter one, fewer "
            "folds, or more history"
        )
    splitter = TimeSeriesSplit(n_splits=folds, test_size=size, gap=horizon + 1, max_train_size=window)
    return tuple(
        Fold(number, train, test) for number, (train, test) in enumerate(splitter.split(np.empty(usable)), start=1)
    )


def anchored(
    known_at: np.ndarray, *, first_train_bars: int, fold_bars: int, horizon: int, window: int | None = None
) -> tuple[Fold, ...]:
    """Folds of `fold_bars` bars each, from bar `first_train_bars` on: more bars add folds, and change none.

    `known_at` (T, S) is the bar at whose open each label was known, -1 where there is none; a bar whose labels were not
    all known before a fold begins is not trained on. What is left at the end, less than a fold, is not tested. Raises
    TooFewSessions, HorizonTooLong.
    """
    if horizon + 1 > fold_bars:
        raise HorizonTooLong(
            f"a horizon that spans {horizon} bars is longer than a fold, which has {fold_bars}: take a shorter one, or "
            "longer folds"
        )
    needed = first_train_bars + FEWEST_FOLDS * fold_bars + UNFINISHED_SESSIONS
    if len(known_at) < needed:
        raise TooFewSessions(
            f"{FEWEST_FOLDS} folds of {fold_bars} bars after {first_train_bars} take {needed} bars, and there are "
            f"{len(known_at)}: {needed - len(known_at)} more are needed, so start earlier, or load more history"
        )
    newest_label = known_at.max(axis=1)
    folds: list[Fold] = []
    for begin in range(first_train_bars, len(known_at) - UNFINISHED_SESSIONS - fold_bars + 1, fold_bars):
        train = np.flatnonzero(newest_label[:begin] < begin)
        folds.append(Fold(len(folds) + 1, train[-window:] if window else train, np.arange(begin, begin + fold_bars)))
    return tuple(folds)


def _missing(first_train: int, needed: int, out_of_sample_fraction: float) -> int:
    """Bars by which the history is too short: of each bar more, only a part is trained on."""
    return int(np.ceil((needed - first_train) / (1.0 - out_of_sample_fraction)))
