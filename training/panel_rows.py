"""What a hypothesis reads of the warehouse: each query, and what is wrong when its answer is not what it promises."""

from typing import Any

import numpy as np
import pandas as pd
import pandera.pandas as pa

from training.costs import FLOORS
from training.grid import nearest
from training.hypothesis import Hypothesis
from warehouse.connection import arrow, connect
from warehouse.errors import Stop
from warehouse.rows import scalar

MEMBERS = """
    select symbol, valid_from, valid_to
    from reference.universes
    where
        universe = $1 and coalesce(valid_from, '-infinity') <= $3 and coalesce(valid_to, 'infinity') > $2
    order by symbol, valid_from
"""

INSTRUMENTS = "select symbol, calendar, asset_class from reference.instruments where symbol = any($1)"

# What is left of a symbol after its last bar with trades, and the first bar on which nobody could trade it any more.
# That bar may lie after the end. A delisting that is only announced is none yet.
DELISTED = """
    select
        instruments.symbol, gone.settled_at, instruments.delisting_return::float8 as result,
        newest.adj_close::float8 / newest.adj_open::float8 - 1 as after_open
    from reference.instruments
    cross join lateral (
        select adj_open, adj_close
        from canonical.ohlcv_{timeframe} as bars
        where
            bars.symbol = instruments.symbol and session_date >= $2 and session_date < instruments.delisted_on
            and not (coalesce(is_silent, false) or (coalesce(volume, 1) = 0 and high = low))
        order by bar_start desc
        limit 1
    ) as newest
    cross join lateral (
        select min(open_at) as settled_at
        from reference.session_bars
        where
            calendar = instruments.calendar and timeframe = $4 and session_date >= instruments.delisted_on
    ) as gone
    where instruments.symbol = any($1) and instruments.delisted_on <= $3 and gone.settled_at <= now()
    order by instruments.symbol
"""

CATALOG = """
    select feature, feature_group, fingerprint
    from features.catalog
    where timeframe = $1 and is_selectable
    order by feature
"""

BARS = """
    select
        symbol, bar_start, adj_open::float8 as adj_open, adj_high::float8 as adj_high, adj_low::float8 as adj_low,
        not (coalesce(is_silent, false) or (coalesce(volume, 1) = 0 and high = low)) as is_traded,
        coalesce(is_range_doubtful, false) as is_range_doubtful
    from canonical.ohlcv_{timeframe}
    where symbol = any($1) and session_date between $2 and $3
    order by bar_start, symbol
"""

FEATURES = """
    select *
    from features.features_{timeframe}
    where symbol = any($1) and bar_start between $2 and $3
    order by bar_start, symbol
"""

EXPECTED = """
    select sessions.calendar, sessions.open_at + numbers.number * sessions.length as bar_start
    from reference.session_bars as sessions
    cross join lateral generate_series(0, sessions.bar_count - 1) as numbers (number)
    where
        sessions.calendar = any($1) and sessions.timeframe = $2
        and sessions.open_at >= $3::timestamptz - interval '2 days' and sessions.open_at <= $4
        and sessions.open_at + numbers.number * sessions.length between $3 and $4
    order by bar_start
"""

FAILED = """
    select symbol, reason
    from features.freshness_{timeframe}
    where symbol = any($1) and stale_from <= $2
    order by symbol
"""

# Days that a benchmark may lack at either end of the window: holidays of another calendar, and what has yet to land.
_DAYS_LACKING = 10

# The end of time for hypotheses that take the newest data.
NEWEST = pd.Timestamp("9999-12-31").date()

MOMENT = pd.DatetimeTZDtype("us", "UTC")
KEYS = {"symbol": pa.Column(str), "bar_start": pa.Column(MOMENT)}
_NAMED_AT_MOST = 5


BUILT = "select to_regclass('reference.instruments') is not null and to_regclass('features.catalog') is not null"


class DatasetError(Stop):
    """The warehouse does not hold what the hypothesis asks for; the text names what is missing."""


def refuse_unknown(role: str, hypothesis: Hypothesis) -> None:
    """Raise DatasetError for a symbol, universe, group or feature that the warehouse does not know.

    Raises another Stop where there is no warehouse to ask, or nothing is built in it yet.
    """
    with connect(role, read_only=True) as connection:
        if not scalar(connection.execute(BUILT)):
            raise Stop("nothing is built in the warehouse yet: run `python -m flows build`")
    members = read_members(role, hypothesis)
    named = [] if hypothesis.benchmark is None else [hypothesis.benchmark]
    read_instruments(role, sorted({*(set(members["symbol"]) or hypothesis.symbols), *named}))
    read_chosen_features(role, hypothesis)


def read_members(role: str, hypothesis: Hypothesis) -> pd.DataFrame:
    """symbol, valid_from and valid_to of a universe's memberships in the window; none without a universe."""
    start, end = hypothesis.training.start, hypothesis.training.end or NEWEST
    if hypothesis.universe is None:
        return pd.DataFrame(columns=["symbol", "valid_from", "valid_to"])
    members = arrow(role, MEMBERS, (hypothesis.universe, start, end)).to_pandas()
    if members.empty:
        known = arrow(role, "select distinct universe from reference.universes order by 1").to_pandas()
        names = list(known["universe"])
        raise DatasetError(
            f"universe {hypothesis.universe} has no member from {start} on: seeds/universes.csv has "
            f"{', '.join(names) or 'no universe'}{nearest(hypothesis.universe, names)}"
        )
    return pd.DataFrame(members)


def read_instruments(role: str, symbols: list[str]) -> pd.DataFrame:
    """symbol, calendar and asset_class, in the order of the symbols."""
    known = arrow(role, INSTRUMENTS, (symbols,)).to_pandas()
    if unknown := sorted(set(symbols) - set(known["symbol"])):
        raise DatasetError(f"unknown symbol {', '.join(unknown)}: add it to reference.instruments and load its bars")
    foreign = known[~known["asset_class"].isin(FLOORS)]
    if not foreign.empty:
        one = foreign.iloc[0]
        raise DatasetError(
            f"{one['symbol']} is of asset class {one['asset_class']}, whose costs training does not know"
        )
    return pd.DataFrame(known.set_index("symbol").loc[symbols].reset_index())


def read_chosen_features(role: str, hypothesis: Hypothesis) -> pd.DataFrame:
    """feature, feature_group and fingerprint of every feature that a trial of the hypothesis asks for."""
    catalog = arrow(role, CATALOG, (hypothesis.timeframe,)).to_pandas()
    known, groups = set(catalog["feature"]), sorted(set(catalog["feature_group"]))
    wanted: set[str] = set()
    for _, variant in hypothesis.trials:
        if missing := sorted(set(variant.feature_groups) - set(groups)):
            raise DatasetError(
                f"feature group {', '.join(missing)} has no feature for timeframe {hypothesis.timeframe}: "
                f"the warehouse has {', '.join(groups) or 'none; run dbt build'}"
            )
        for name in (*variant.named_features, *variant.exclude_features, *_constrained(variant)):
            if name not in known:
                raise DatasetError(
                    f"there is no feature {name} for timeframe {hypothesis.timeframe}{nearest(name, sorted(known))}"
                )
        of_groups = set(catalog.loc[catalog["feature_group"].isin(variant.feature_groups), "feature"])
        chosen = (of_groups - set(variant.exclude_features)) | set(variant.named_features)
        if not chosen:
            raise DatasetError(f"{hypothesis.experiment_id} excludes every feature that it asks for")
        if outside := sorted(set(_constrained(variant)) - chosen):
            raise DatasetError(f"monotone_constraints names {outside[0]}, which the model does not look at")
        wanted |= chosen
    return pd.DataFrame(catalog[catalog["feature"].isin(wanted)])


def _constrained(hypothesis: Hypothesis) -> tuple[str, ...]:
    return tuple(hypothesis.training.xgboost.monotone_constraints)


def read_bars(role: str, symbols: list[str], hypothesis: Hypothesis) -> pd.DataFrame:
    """symbol, bar_start, adj_open, adj_high, adj_low, is_traded and is_range_doubtful of the hypothesis's window."""
    start, end = hypothesis.training.start, hypothesis.training.end or NEWEST
    relation = f"canonical.ohlcv_{hypothesis.timeframe}"
    bars = arrow(role, BARS.format(timeframe=hypothesis.timeframe), (symbols, start, end)).to_pandas()
    schema = pa.DataFrameSchema(
        {
            **KEYS,
            **{name: pa.Column(float, pa.Check.gt(0)) for name in ("adj_open", "adj_high", "adj_low")},
            **{name: pa.Column(bool) for name in ("is_traded", "is_range_doubtful")},
        },
        strict=True,
        unique=["symbol", "bar_start"],
    )
    return _validate(relation, schema, bars)


def read_benchmark(role: str, hypothesis: Hypothesis, starts: np.ndarray) -> np.ndarray | None:
    """(T,) newest open with trades of a named benchmark at each bar of a grid, NaN before the first; None without one.

    Raises DatasetError where it is unknown, or does not last as long as the grid.
    """
    if hypothesis.benchmark is None:
        return None
    read_instruments(role, [hypothesis.benchmark])
    bars = read_bars(role, [hypothesis.benchmark], hypothesis)
    refuse_without_bars([hypothesis.benchmark], hypothesis, bars)
    traded = bars[bars["is_traded"]]
    moments = traded["bar_start"].dt.tz_localize(None).to_numpy().astype("datetime64[us]")
    lacking = np.timedelta64(_DAYS_LACKING, "D")
    if len(moments) == 0 or moments[0] > starts[0] + lacking or moments[-1] < starts[-1] - lacking:
        first, last = (str(moments[place])[:10] if len(moments) else "never" for place in (0, -1))
        raise DatasetError(
            f"benchmark {hypothesis.benchmark} has bars with trades from {first} to {last}, and the hypothesis is "
            f"about bars from {str(starts[0])[:10]} to {str(starts[-1])[:10]}: name another, or load its bars"
        )
    newest = np.searchsorted(moments, starts, side="right") - 1
    opens = traded["adj_open"].to_numpy(np.float64)
    return np.asarray(np.where(newest >= 0, opens[np.maximum(newest, 0)], np.nan))


def refuse_without_bars(symbols: list[str], hypothesis: Hypothesis, bars: pd.DataFrame) -> None:
    """Raise DatasetError for symbols that none of these bars is of."""
    if without := sorted(set(symbols) - set(bars["symbol"])):
        start, end = hypothesis.training.start, hypothesis.training.end
        until = f"to {end}" if end else "on"
        raise DatasetError(
            f"canonical.ohlcv_{hypothesis.timeframe} has no bar of {', '.join(without)} from {start} {until}: load them"
        )


def read_delistings(role: str, symbols: list[str], hypothesis: Hypothesis) -> list[dict[str, Any]]:
    """symbol, settled_at, result and after_open of each symbol that was delisted in the window, as DELISTED says."""
    start, end = hypothesis.training.start, hypothesis.training.end or NEWEST
    query = DELISTED.format(timeframe=hypothesis.timeframe)
    rows: list[dict[str, Any]] = arrow(role, query, (symbols, start, end, hypothesis.timeframe)).to_pylist()
    for one in rows:
        if one["result"] is not None and not -1 <= one["result"] <= 1:
            raise DatasetError(
                f"delisting_return of {one['symbol']} is {one['result']:g}, which is no number from -1 to 1: "
                "mend seeds/instruments.csv and run dbt build"
            )
    return rows


def refuse_failed(role: str, symbols: list[str], timeframe: str, last: pd.Timestamp) -> None:
    """Raise DatasetError for symbols whose features do not follow, up to a bar, from what has landed."""
    failed = arrow(role, FAILED.format(timeframe=timeframe), (symbols, last)).to_pandas()
    if failed.empty:
        return
    named = [f"{symbol} ({reason})" for symbol, reason in zip(failed["symbol"], failed["reason"], strict=True)]
    more = f" and {len(named) - _NAMED_AT_MOST} more" if len(named) > _NAMED_AT_MOST else ""
    raise DatasetError(
        f"features of {', '.join(named[:_NAMED_AT_MOST])}{more} do not follow from what has landed: run "
        "`dbt build`, or mend what features.freshness names"
    )


def read_features(
    role: str, symbols: list[str], timeframe: str, first: object, last: object, names: list[str]
) -> pd.DataFrame:
    """symbol, bar_start, is_ready and the named features; a row without a finite value of each is not ready."""
    relation = f"features.features_{timeframe}"
    features = arrow(role, FEATURES.format(timeframe=timeframe), (symbols, first, last)).to_pandas()
    if missing := [name for name in names if name not in features.columns]:
        raise DatasetError(f"{relation} has no column {', '.join(missing)} that features.catalog lists")
    features = features[["symbol", "bar_start", "is_ready", *names]]
    schema = pa.DataFrameSchema(
        {**KEYS, "is_ready": pa.Column(bool), **{name: pa.Column(float, nullable=True) for name in names}},
        unique=["symbol", "bar_start"],
    )
    features = _validate(relation, schema, features)
    # what has no value on a day, a ratio to a volume of zero for example, costs that row of whoever uses it
    features["is_ready"] &= np.isfinite(features[names].to_numpy(dtype=np.float64)).all(axis=1)
    features.loc[~features["is_ready"], names] = np.nan
    return features


def read_expected(role: str, calendars: list[str], timeframe: str, first: object, last: object) -> pd.DataFrame:
    """calendar and bar_start of each bar that these calendars expect between two moments."""
    expected = arrow(role, EXPECTED, (calendars, timeframe, first, last)).to_pandas()
    if without := sorted(set(calendars) - set(expected["calendar"])):
        raise DatasetError(
            f"reference.session_bars has no sessions of {', '.join(without)} from {first} to {last}: load them"
        )
    return pd.DataFrame(expected)


def _validate(relation: str, schema: pa.DataFrameSchema, rows: pd.DataFrame) -> pd.DataFrame:
    try:
        return schema.validate(rows)
    except pa.errors.SchemaError as error:
        reason = str(error).splitlines()[0]
        raise DatasetError(f"{relation} breaks its contract: {reason}") from None
