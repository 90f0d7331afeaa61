"""The dataset of a hypothesis: features, opens and readiness on one grid of sessions x symbols.

Features are read from the relation that execution reads too. A decision taken at the close of bar t is traded at the
open of bar t+1; a return over h bars runs from that open to the open of bar t+1+h. Sessions come from the calendar, not
from the bars, so a missing bar is a hole in the grid and never shortens a horizon.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd
import pandera.pandas as pa

from models_registry.frozen import canonical_json, sha256
from training.hypothesis import Hypothesis
from warehouse.connection import arrow
from warehouse.errors import Stop

CALENDARS = "select symbol, calendar from reference.instruments where symbol = any($1)"

CATALOG = """
    select feature, feature_group, fingerprint
    from features.catalog
    where timeframe = $1 and is_selectable
    order by feature
"""

OPENS = """
    select symbol, bar_start, adj_open::float8 as adj_open
    from canonical.ohlcv_1d
    where symbol = any($1) and session_date between $2 and $3
    order by bar_start, symbol
"""

FEATURES = """
    select *
    from features.features_1d
    where symbol = any($1) and bar_start between $2 and $3
    order by bar_start, symbol
"""

SESSIONS = """
    select open_at
    from reference.trading_sessions
    where calendar = $1 and open_at between $2 and $3
    order by open_at
"""

# The end of time for hypotheses that take the newest data.
NEWEST = pd.Timestamp("9999-12-31").date()

UTC = pd.DatetimeTZDtype("us", "UTC")
KEYS = {"symbol": pa.Column(str), "bar_start": pa.Column(UTC)}


class DatasetError(Stop):
    """The warehouse does not hold what the hypothesis asks for; the text names what is missing."""


@dataclass(frozen=True)
class Dataset:
    """A grid of T sessions x S symbols with F features. Arrays are read-only by convention.

    sessions: (T,) UTC starts, datetime64[us]. opens: (T, S) adjusted opens, NaN where there is no bar.
    features: (T, S, F) float64, NaN where not ready. ready: (T, S), the row's lookback is complete and each of the F
    features has a value. fingerprints: of the F features, in their order. unready_rows: rows of the feature relation
    that were skipped because they are not ready.
    """

    symbols: tuple[str, ...]
    timeframe: str
    sessions: np.ndarray
    opens: np.ndarray
    features: np.ndarray
    ready: np.ndarray
    fingerprints: dict[str, str]
    unready_rows: int

    @property
    def feature_names(self) -> tuple[str, ...]:
        """The F features, in the order of the last axis."""
        return tuple(self.fingerprints)

    @cached_property
    def digest(self) -> str:
        """SHA-256 of every value in the grid: the same digest is the same data."""
        arrays = (self.sessions.astype(np.int64), self.opens, self.features, self.ready)
        names = canonical_json([self.symbols, self.timeframe, self.feature_names])
        return sha256(names.encode() + b"".join(np.ascontiguousarray(array).tobytes() for array in arrays))

    def forward_returns(self, horizon: int) -> np.ndarray:
        """(T, S) simple return from the open of bar t+1 to the open of bar t+1+horizon; NaN where either is missing."""
        returns = np.full(self.opens.shape, np.nan)
        returns[: -1 - horizon] = self.opens[1 + horizon :] / self.opens[1:-horizon] - 1.0
        return returns

    def rows(self, sessions: np.ndarray) -> pd.DataFrame:
        """Feature rows of the given session numbers, session by session, symbols in order: what a package reads."""
        count = len(self.symbols)
        values = self.features[sessions].reshape(-1, len(self.feature_names))
        frame = pd.DataFrame(values, columns=list(self.feature_names))
        frame.insert(0, "symbol", np.tile(np.array(self.symbols, dtype=object), len(sessions)))
        frame.insert(1, "bar_start", pd.DatetimeIndex(np.repeat(self.sessions[sessions], count), tz="UTC"))
        frame["is_ready"] = self.ready[sessions].reshape(-1)
        return frame


def read(hypothesis: Hypothesis) -> Dataset:
    """Read the hypothesis's data as the trainer. Raises DatasetError when symbols, groups or bars are missing."""
    symbols = list(hypothesis.symbols)
    calendar = _calendar(symbols)
    fingerprints = _fingerprints(hypothesis)
    opens = _validated_opens(symbols, hypothesis)
    first, last = opens["bar_start"].min(), opens["bar_start"].max()
    sessions = arrow("trainer", SESSIONS, (calendar, first, last)).column("open_at").to_pandas()
    if sessions.empty:
        raise DatasetError(
            f"reference.trading_sessions has no sessions of {calendar} from {first} to {last}: load them"
        )
    features = _validated_features(symbols, first, last, list(fingerprints))

    index = pd.MultiIndex.from_product([sessions, symbols], names=["bar_start", "symbol"])
    on_grid = features.set_index(["bar_start", "symbol"]).reindex(index)
    shape = (len(sessions), len(symbols))
    ready = on_grid["is_ready"].eq(True).to_numpy(bool)
    return Dataset(
        symbols=tuple(symbols),
        timeframe=hypothesis.timeframe,
        sessions=sessions.dt.tz_localize(None).to_numpy(),
        opens=opens.set_index(["bar_start", "symbol"])["adj_open"].reindex(index).to_numpy().reshape(shape),
        features=on_grid[list(fingerprints)].to_numpy(np.float64).reshape(*shape, -1),
        ready=ready.reshape(shape),
        fingerprints=fingerprints,
        unready_rows=int((~features["is_ready"]).sum()),
    )


def _calendar(symbols: list[str]) -> str:
    known = arrow("trainer", CALENDARS, (symbols,)).to_pandas()
    if unknown := sorted(set(symbols) - set(known["symbol"])):
        raise DatasetError(f"unknown symbol {', '.join(unknown)}: add it to reference.instruments and load its bars")
    calendars = sorted(set(known["calendar"]))
    if len(calendars) > 1:
        raise DatasetError(
            f"the symbols trade on different calendars ({', '.join(calendars)}): one hypothesis needs one calendar"
        )
    return str(calendars[0])


def _fingerprints(hypothesis: Hypothesis) -> dict[str, str]:
    catalog = arrow("trainer", CATALOG, (hypothesis.timeframe,)).to_pandas()
    groups = sorted(set(catalog["feature_group"]))
    if missing := sorted(set(hypothesis.feature_groups) - set(groups)):
        raise DatasetError(
            f"feature group {', '.join(missing)} has no feature for timeframe {hypothesis.timeframe}: "
            f"the warehouse has {', '.join(groups) or 'none; run dbt build'}"
        )
    chosen = catalog[catalog["feature_group"].isin(hypothesis.feature_groups)]
    return dict(zip(chosen["feature"], chosen["fingerprint"], strict=True))


def _validated_opens(symbols: list[str], hypothesis: Hypothesis) -> pd.DataFrame:
    start, end = hypothesis.training.start, hypothesis.training.end or NEWEST
    opens = arrow("trainer", OPENS, (symbols, start, end)).to_pandas()
    if without := sorted(set(symbols) - set(opens["symbol"])):
        raise DatasetError(f"canonical.ohlcv_1d has no bar of {', '.join(without)} from {start} to {end}: load them")
    schema = pa.DataFrameSchema(
        {**KEYS, "adj_open": pa.Column(float, pa.Check.gt(0))}, strict=True, unique=["symbol", "bar_start"]
    )
    return _validate("canonical.ohlcv_1d", schema, opens)


def _validated_features(symbols: list[str], first: object, last: object, names: list[str]) -> pd.DataFrame:
    features = arrow("trainer", FEATURES, (symbols, first, last)).to_pandas()
    if missing := [name for name in names if name not in features.columns]:
        raise DatasetError(f"features.features_1d has no column {', '.join(missing)} that features.catalog lists")
    features = features[["symbol", "bar_start", "is_ready", *names]]
    schema = pa.DataFrameSchema(
        {**KEYS, "is_ready": pa.Column(bool), **{name: pa.Column(float, nullable=True) for name in names}},
        unique=["symbol", "bar_start"],
    )
    features = _validate("features.features_1d", schema, features)
    # what has no value on a day, a ratio to a volume of zero for example, costs that row of whoever uses it
    features["is_ready"] &= np.isfinite(features[names].to_numpy(dtype=np.float64)).all(axis=1)
    features.loc[~features["is_ready"], names] = np.nan
    return features


def _validate(relation: str, schema: pa.DataFrameSchema, rows: pd.DataFrame) -> pd.DataFrame:
    try:
        return schema.validate(rows)
    except pa.errors.SchemaError as error:
        reason = str(error).splitlines()[0]
        raise DatasetError(f"{relation} breaks its contract: {reason}") from None
