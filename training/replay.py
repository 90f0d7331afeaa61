"""What the backtest says a model should have wanted: its signals over any bars, in one go.

A live session asks the same package for the same rows one bar at a time; the two must agree to the bit.
"""

from datetime import datetime

import pandas as pd

from models_registry.package import ModelPackage
from warehouse.connection import arrow

CATALOG = "select feature, fingerprint from features.catalog where timeframe = $1"

FEATURES = """
    select *
    from features.features_{timeframe}
    where symbol = any($1) and bar_start >= $2 and bar_start <= $3
    order by bar_start, symbol
"""


def signals(package: ModelPackage, first: datetime, last: datetime) -> pd.DataFrame:
    """Scores and target weights for every bar that starts from `first` to `last` (UTC, both included).

    Returns symbol, bar_start, score, weight, by bar_start and symbol. Raises FingerprintMismatch when the warehouse
    computes the features differently now.
    """
    catalog = arrow("trainer", CATALOG, (package.timeframe,)).to_pydict()
    package.check_fingerprints(dict(zip(catalog["feature"], catalog["fingerprint"], strict=True)))
    query = FEATURES.format(timeframe=package.timeframe)
    return package.target_weights(arrow("trainer", query, (list(package.symbols), first, last)))
