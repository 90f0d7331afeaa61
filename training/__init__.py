"""Hypothesis (YAML) -> dataset -> model -> out-of-sample evidence -> gate -> model package."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd


def reproduce(trial_id: str) -> "pd.DataFrame":
    """The out-of-sample path of a stored trial, computed again as analyst; see training/reproduction.py."""
    # whoever uses one module of training need not load all of it
    from training.reproduction import reproduced

    return reproduced(trial_id)
