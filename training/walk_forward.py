"""Expanding walk-forward folds over the last part of the sessions, purged by the target's horizon."""

from dataclasses import dataclass

import numpy as np
from sklearn.model_selection import TimeSeriesSplit

from warehouse.errors import Stop

MINIMUM_TRAINING_SESSIONS = 250

# A decision at t earns the return from the open of t+1 to the open of t+2: the last two sessions have none yet.
UNFINISHED_SESSIONS = 2


class TooFewSessions(Stop):
    """There is not enough history to train before the out-of-sample window."""


@dataclass(frozen=True)
class Fold:
    """Ascending session numbers: `train` for fitting, `test` for what the fitted model predicts. Numbered from 1."""

    number: int
    train: np.ndarray
    test: np.ndarray


def split(sessions: int, *, folds: int, out_of_sample_fraction: float, horizon: int) -> tuple[Fold, ...]:
    """Folds over session numbers 0 .. sessions-1.

    The out-of-sample window does not depend on the horizon, so hypotheses on the same data share it. The label of
    session t ends at the open of t+1+horizon; training stops horizon+1 sessions before the test begins, so that every
    label in it was known before the first decision of the test. Raises TooFewSessions.
    """
    usable = sessions - UNFINISHED_SESSIONS
    size = int(usable * out_of_sample_fraction) // folds
    first_train = usable - folds * size - (horizon + 1)
    if first_train < MINIMUM_TRAINING_SESSIONS or size < 1:
        raise TooFewSessions(
            f"{sessions} sessions leave {max(first_train, 0)} to train the first fold on, and it takes "
            f"{MINIMUM_TRAINING_SESSIONS}: start earlier, or load more history"
        )
    splitter = TimeSeriesSplit(n_splits=folds, test_size=size, gap=horizon + 1)
    return tuple(
        Fold(number, train, test) for number, (train, test) in enumerate(splitter.split(np.empty(usable)), start=1)
    )
