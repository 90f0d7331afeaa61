"""Small made-up markets: one feature foretells the next holding period's return, the others foretell nothing."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from training.dataset import Dataset
from training.hypothesis import Hypothesis
from warehouse.connection import connect

# two trials
GRID = {"start": "2000-01-01", "device": "cpu", "xgboost": {"n_estimators": 40}, "grid": {"max_depth": [1, 2]}}
FINGERPRINTS = {"volume_surprise": "v1", "wind_direction": "w1"}


def sessions(count: int) -> pd.DatetimeIndex:
    """Weekdays from 2000-01-03 on, opening at 14:30 UTC."""
    return pd.bdate_range("2000-01-03 14:30", periods=count, tz="UTC").as_unit("us")


def dataset(
    count: int = 1200, symbols: Sequence[str] = ("EDGE",), strength: float = 1.2, seed: int = 5, warm_up: int = 20
) -> Dataset:
    """A panel in which volume_surprise at t moves the open-to-open return that a decision at t earns."""
    generator = np.random.default_rng(seed)
    shape = (count, len(symbols))
    surprise = generator.normal(size=shape)
    daily = 0.01 * generator.normal(size=shape) + 0.0002
    # the return from the open of t+1 to the open of t+2 belongs to the decision at t
    daily[2:] += 0.01 * strength * np.tanh(surprise[:-2])
    features = np.stack([surprise, generator.normal(size=shape)], axis=2)
    ready = np.ones(shape, dtype=bool)
    ready[:warm_up] = False
    features[~ready] = np.nan
    opens = 50.0 * np.exp(np.cumsum(daily, axis=0))
    return Dataset(
        symbols=tuple(symbols),
        timeframe="1d",
        sessions=sessions(count).tz_localize(None).to_numpy(),
        opens=opens,
        highs=opens * 1.01,
        lows=opens * 0.99,
        features=features,
        ready=ready,
        fingerprints=dict(FINGERPRINTS),
        unready_rows=warm_up * len(symbols),
    )


def hypothesis(**changes: object) -> Hypothesis:
    """A hypothesis that fits the panel above; top-level keys can be replaced."""
    content = {
        "experiment_id": "made_up",
        "description": "A surprise in volume foretells the next return.",
        "symbols": ["EDGE"],
        "timeframe": "1d",
        "model_type": "xgboost",
        "feature_groups": ["volume"],
        "target": {"kind": "binary"},
        "position_sizing": {"policy": "long_flat"},
        "costs": {"bps_per_side": 2},
        "training": {"start": "2000-01-01", "end": "2012-09-28", "device": "cpu", "xgboost": {"n_estimators": 40}},
    }
    return Hypothesis.model_validate({**content, **changes})


def counts() -> dict[str, int]:
    """How many rows each table has that a search, or a look at it, writes."""
    tables = ("hypotheses", "families", "runs", "run_outcomes", "trials", "trial_returns", "gate_looks", "verdicts")
    with connect("trainer") as connection:
        return {
            name: connection.execute(f"select count(*) from research.{name}").fetchone()[0]
            for name in (*tables, "gate_checks", "models", "model_states")
        }
