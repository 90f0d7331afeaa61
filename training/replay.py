"""What the backtest says a model should have wanted: its signals over any bars, in one go.

A live session asks the same package for the same rows one bar at a time; the two must agree to the bit. A model of a
universe is asked among those who were members on the session of each bar, whoever belongs to it today.
"""

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime

import pandas as pd
import pyarrow
from pyarrow import compute

from models_registry.package import ModelPackage
from warehouse.connection import arrow

CATALOG = "select feature, fingerprint from features.catalog where timeframe = $1"

# A backtest decides, and ranks, no row of a bar in which nobody traded; nor does a session.
FEATURES = """
    select features.*, bars.has_trades
    from features.features_{timeframe} as features
    left join (
        select
            symbol, bar_start,
            not (coalesce(is_silent, false) or (coalesce(volume, 1) = 0 and high = low)) as has_trades
        from canonical.ohlcv_{timeframe}
        where symbol = any($1) and bar_start >= $2 and bar_start <= $3
    ) as bars using (symbol, bar_start)
    where features.symbol = any($1) and features.bar_start >= $2 and features.bar_start <= $3
    order by features.bar_start, features.symbol
"""

# Every member of a universe on the session of each bar.
MEMBERS = """
    select bars.bar_start, universes.symbol
    from (
        select bar_start, max(session_date) as session_date
        from canonical.ohlcv_{timeframe}
        where
            symbol = any($2 || array(select symbol from reference.universes where universe = $1))
            and bar_start >= $3 and bar_start <= $4
        group by bar_start
    ) as bars
    inner join reference.universes
        on coalesce(valid_from, '-infinity') <= session_date and coalesce(valid_to, 'infinity') > session_date
    inner join reference.instruments using (symbol)
    where universe = $1
"""


def signals(package: ModelPackage, first: datetime, last: datetime) -> pd.DataFrame:
    """Scores and target weights for every bar that starts from `first` to `last` (UTC, both included).

    Returns symbol, bar_start, score, weight, by bar_start and symbol. Raises FingerprintMismatch when the warehouse
    computes the features differently now.
    """
    catalog = arrow("analyst", CATALOG, (package.timeframe,)).to_pydict()
    package.check_fingerprints(dict(zip(catalog["feature"], catalog["fingerprint"], strict=True)))
    query = FEATURES.format(timeframe=package.timeframe)
    bare, symbols = replace(package, members=None), list(package.manifest.symbols)
    if package.manifest.universe is None:
        return bare.target_weights(_rows(query, (symbols, first, last)))
    asked = (package.manifest.universe, symbols, first, last)
    members = arrow("analyst", MEMBERS.format(timeframe=package.timeframe), asked).to_pandas()
    everybody = sorted({*symbols, *members["symbol"]})
    features = _rows(query, (everybody, first, last)).to_pandas()
    groups = list(_among_members(bare, features, members))
    wanted = pd.concat(groups) if groups else pd.DataFrame(columns=["symbol", "bar_start", "score", "weight"])
    return wanted.sort_values(["bar_start", "symbol"], ignore_index=True)


def _rows(query: str, asked: tuple[object, ...]) -> pyarrow.Table:
    """Feature rows; ready are those of bars in which somebody traded."""
    table = arrow("analyst", query, asked)
    ready = compute.and_(table["is_ready"], compute.coalesce(table["has_trades"], True))
    return table.set_column(table.column_names.index("is_ready"), "is_ready", ready).drop_columns("has_trades")


def _among_members(bare: ModelPackage, features: pd.DataFrame, members: pd.DataFrame) -> Iterator[pd.DataFrame]:
    """Signals of the bars that have the same members, for each such group of bars."""
    then = members.groupby("bar_start")["symbol"].agg(frozenset)
    of_bars = features["bar_start"].map(then)
    for those in set(then):
        package = bare.trading(those)
        rows = features[(of_bars == those) & features["symbol"].isin(package.symbols)]
        if not rows.empty:
            yield package.target_weights(rows)
