"""What the warehouse says at this moment about the bars that models decide, read into a MarketView.

Bars, features, freshness and models are one consistent snapshot. Calendars, announced splits and prices of what is held
and not traded are read a moment later. Nothing is written.
"""

import time
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import psycopg
from psycopg import sql

from execution.holding import Entry, Holding, holding
from execution.market_view import Bar, FeatureRow, MarketView, Package
from execution.timing import SessionTimes, window_of
from models_registry import registry
from warehouse.connection import connect
from warehouse.errors import Retry, Stop, Unreachable
from warehouse.timeframes import TIMEFRAMES

# so many bars of a symbol are read at most: what is older is too late to be traded anyway
MOST_BARS = 500
# what was read so long ago may be of another state of a model, or of a bar that was revised
_AHEAD_SECONDS = 5.0

# a backtest decides no bar in which nobody traded
_IS_TRADED = sql.SQL("not (coalesce(is_silent, false) or (coalesce(volume, 1) = 0 and high = low)) as is_traded")


class Market:
    """Reads the warehouse as the role `executor`, over a connection of its own."""

    def __init__(self) -> None:
        self._connection = connect("executor")
        self._connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        self._connection.read_only = True
        # planning live relations takes ten times as long as reading them, and a session asks the same at every bar
        self._connection.prepare_threshold = 0
        self._beside = ThreadPoolExecutor(1, "market")
        self._ahead: _Ahead | None = None
        with self._reading() as cursor:
            cursor.execute("set plan_cache_mode = force_generic_plan")

    def close(self) -> None:
        if self._ahead is not None and not self._ahead.found.done():
            # it may wait for somebody's lock, and nobody asks for it any more
            self._connection.cancel()
        self._beside.shutdown()
        self._connection.close()

    @property
    def is_gone(self) -> bool:
        """Whether its connection has ended: nothing is read over it any more."""
        return bool(self._connection.closed)

    def begin(self, packages: Sequence[Package]) -> None:
        """Start to read what the next `read` of these packages takes longest for, beside what the caller does.

        What fails is raised there. Whatever else is read meanwhile waits for it.
        """
        self._wait()
        names = [package.model_id for package in packages]
        self._ahead = _Ahead(names, time.monotonic(), self._beside.submit(self._newest, tuple(packages)))

    def read(self, packages: Sequence[Package], held: Iterable[str], now: datetime) -> MarketView:
        """Everything about the packages' symbols, and the newest bars, calendars and splits of what else is held.

        Bars, features, freshness and models are of one moment: now, or when the reading was begun. What was begun for
        other packages, or longer ago than a broker takes to answer, is read anew: a model may be retired since.
        """
        ahead = self._ahead
        names = [package.model_id for package in packages]
        if ahead is not None and ahead.names == names and time.monotonic() - ahead.begun_at < _AHEAD_SECONDS:
            self._ahead = None
            newest = ahead.found.result()
        else:
            self._wait()
            newest = self._newest(packages)
        timeframes = _timeframes(packages)
        shortest = min(timeframes.values(), key=TIMEFRAMES.index, default=TIMEFRAMES[-1])
        priced = dict.fromkeys(held, shortest) | timeframes
        with self._reading() as cursor:
            sessions = _sessions(cursor, priced, now)
            bars = dict(newest.bars)
            if others := priced.keys() - timeframes.keys():
                bars |= _bars(cursor, shortest, others)
            # what is held and not traded may have daily bars alone
            if unpriced := priced.keys() - bars.keys():
                bars |= _bars(cursor, "1d", unpriced)
            return MarketView(
                sessions=sessions,
                bars=bars,
                stale=newest.stale,
                rows=newest.rows,
                changed=newest.changed,
                states=newest.states,
                splits=_splits(cursor, sessions),
            )

    def _newest(self, packages: Sequence[Package]) -> "_Newest":
        by_timeframe: dict[str, list[str]] = {}
        for symbol, timeframe in sorted(_timeframes(packages).items()):
            by_timeframe.setdefault(timeframe, []).append(symbol)
        with self._transaction() as cursor:
            states = registry.states(cursor.connection)
            catalogs = {name: _catalog(cursor, name) for name in by_timeframe}
            changed = {package.model_id: _changed(package, catalogs[package.timeframe]) for package in packages}
            rows: dict[tuple[str, str], FeatureRow] = {}
            bars: dict[str, Bar] = {}
            stale: dict[str, tuple[datetime | None, str | None]] = {}
            for name, symbols in by_timeframe.items():
                asked = [package for package in packages if package.timeframe == name]
                rows |= _feature_rows(cursor, [package for package in asked if not changed[package.model_id]])
                bars |= _bars(cursor, name, symbols)
                stale |= _stale(cursor, name, symbols)
            return _Newest(states, changed, rows, bars, stale)

    def bars_after(
        self, package: Package, floors: Mapping[str, datetime]
    ) -> dict[datetime, dict[str, tuple[FeatureRow, Bar]]]:
        """By bar start, oldest first, and symbol: feature rows and their bars that start after each symbol's floor.

        Of each symbol at most the newest MOST_BARS.
        """
        with self._reading() as cursor:
            names = [sql.Identifier(name) for name in ("is_ready", *package.feature_names)]
            found = _after(cursor, "features", f"features_{package.timeframe}", names, floors)
            columns = (sql.Identifier("bar_end"), sql.Identifier("close"), _IS_TRADED)
            bars = {
                (symbol, bar_start): Bar(bar_start, *values)
                for symbol, bar_start, *values in _after(
                    cursor, "canonical", f"ohlcv_{package.timeframe}", columns, floors
                )
            }
        after: dict[datetime, dict[str, tuple[FeatureRow, Bar]]] = {}
        for symbol, bar_start, is_ready, *values in sorted(found, key=lambda row: row[:2]):
            if (bar := bars.get((symbol, bar_start))) is not None:
                row = FeatureRow(symbol, bar_start, is_ready, tuple(values))
                after.setdefault(bar_start, {})[symbol] = (row, bar)
        return dict(sorted(after.items()))

    def holdings(
        self, bars: Mapping[tuple[str, str], datetime], timeframe: str, entries: Mapping[tuple[str, str], Entry]
    ) -> dict[tuple[str, str], Holding]:
        """By (model, symbol) the position at the close of the bar of this timeframe, as its exits are judged by."""
        with self._reading() as cursor:
            return {
                key: holding(cursor, timeframe, key[1], entries.get(key, Entry()), bar_start)
                for key, bar_start in bars.items()
            }

    def sessions(self, timeframes: Mapping[str, str], now: datetime) -> dict[str, SessionTimes]:
        """Each symbol's calendar around `now`, for bars of its timeframe."""
        with self._reading() as cursor:
            return _sessions(cursor, timeframes, now)

    def _wait(self) -> None:
        """Until nothing is read beside the caller any more; what was read so, and nobody asked for, is dropped."""
        ahead, self._ahead = self._ahead, None
        if ahead is not None:
            wait([ahead.found])

    @contextmanager
    def _reading(self) -> Iterator[psycopg.Cursor]:
        """One transaction, after whatever is read beside it. Raises as `_transaction` does."""
        self._wait()
        with self._transaction() as cursor:
            yield cursor

    @contextmanager
    def _transaction(self) -> Iterator[psycopg.Cursor]:
        """Raises Retry when the database may come back, Unreachable when this connection is gone.

        Stop when the warehouse is not built.
        """
        try:
            with self._connection.transaction(), self._connection.cursor() as cursor:
                yield cursor
        except (psycopg.errors.UndefinedTable, psycopg.errors.UndefinedColumn) as error:
            missing = str(error).splitlines()[0]
            raise Stop(f"the warehouse is not built ({missing}): run `dbt build`") from None
        except psycopg.OperationalError as error:
            if self._connection.closed:
                raise Unreachable("the connection to the warehouse is gone: start trading again") from None
            raise Retry(f"the warehouse is gone: {str(error).strip().splitlines()[-1]}") from None


@dataclass(frozen=True, slots=True)
class _Newest:
    """What is read of the packages' symbols in one transaction; the fields are those of a MarketView."""

    states: Mapping[str, str]
    changed: Mapping[str, tuple[str, ...]]
    rows: Mapping[tuple[str, str], FeatureRow]
    bars: Mapping[str, Bar]
    stale: Mapping[str, tuple[datetime | None, str | None]]


@dataclass(frozen=True, slots=True)
class _Ahead:
    """What is read beside the caller: of which models, since when by `time.monotonic`, and what it finds."""

    names: list[str]
    begun_at: float
    found: Future[_Newest]


def _timeframes(packages: Iterable[Package]) -> dict[str, str]:
    """Each traded symbol's timeframe."""
    return {symbol: package.timeframe for package in packages for symbol in package.symbols}


def _catalog(cursor: psycopg.Cursor, timeframe: str) -> dict[str, str]:
    cursor.execute("select feature, fingerprint from features.catalog where timeframe = %s", (timeframe,))
    return dict(cursor.fetchall())


def _changed(package: Package, catalog: Mapping[str, str]) -> tuple[str, ...]:
    trained_on = package.fingerprints
    return tuple(name for name in package.feature_names if catalog.get(name) != trained_on.get(name))


def _feature_rows(cursor: psycopg.Cursor, packages: Sequence[Package]) -> dict[tuple[str, str], FeatureRow]:
    """By model and symbol the newest row, for packages of one timeframe.

    One statement for all of them: what a symbol's row costs is read once, however many features are taken from it.
    """
    if not packages:
        return {}
    names = sorted({name for package in packages for name in package.feature_names})
    symbols = sorted({symbol for package in packages for symbol in package.symbols})
    columns = [sql.Identifier(name) for name in ("is_ready", *names)]
    found = {row[0]: row for row in _newest(cursor, "features", f"features_{packages[0].timeframe}", columns, symbols)}
    places = {name: number for number, name in enumerate(names, start=3)}
    rows: dict[tuple[str, str], FeatureRow] = {}
    for package in packages:
        own = [places[name] for name in package.feature_names]
        for symbol in package.symbols:
            if (row := found.get(symbol)) is not None:
                values = tuple(row[place] for place in own)
                rows[package.model_id, symbol] = FeatureRow(symbol, row[1], row[2], values)
    return rows


def _bars(cursor: psycopg.Cursor, timeframe: str, symbols: Collection[str]) -> dict[str, Bar]:
    columns = (sql.Identifier("bar_end"), sql.Identifier("close"), _IS_TRADED)
    rows = _newest(cursor, "canonical", f"ohlcv_{timeframe}", columns, symbols)
    return {symbol: Bar(*values) for symbol, *values in rows}


def _newest(
    cursor: psycopg.Cursor, schema: str, relation: str, columns: Sequence[sql.Composable], symbols: Collection[str]
) -> list[tuple[Any, ...]]:
    """Symbol, bar_start and these columns of each symbol's newest row."""
    # one statement, because starting one takes longer than a symbol's rows; one lookup per symbol in it, because a live
    # view then computes only the bars after that symbol's history
    query = sql.SQL(
        """
        select wanted.symbol, newest.*
        from unnest(%s::text[]) as wanted (symbol)
        cross join lateral (
          select bar_start, {columns} from {relation} where symbol = wanted.symbol order by bar_start desc limit 1
        ) as newest
        """
    ).format(columns=sql.SQL(", ").join(columns), relation=sql.Identifier(schema, relation))
    return cursor.execute(query, (list(symbols),)).fetchall()


def _after(
    cursor: psycopg.Cursor,
    schema: str,
    relation: str,
    columns: Sequence[sql.Composable],
    floors: Mapping[str, datetime],
) -> list[tuple[Any, ...]]:
    """Symbol, bar_start and these columns of each symbol's rows after its floor, at most the newest MOST_BARS."""
    query = sql.SQL(
        """
        select wanted.symbol, newer.*
        from unnest(%s::text[], %s::timestamptz[]) as wanted (symbol, floor)
        cross join lateral (
          select bar_start, {columns} from {relation} where symbol = wanted.symbol and bar_start > wanted.floor
          order by bar_start desc limit %s
        ) as newer
        """
    ).format(columns=sql.SQL(", ").join(columns), relation=sql.Identifier(schema, relation))
    return cursor.execute(query, (list(floors), list(floors.values()), MOST_BARS)).fetchall()


def _stale(
    cursor: psycopg.Cursor, timeframe: str, symbols: Sequence[str]
) -> dict[str, tuple[datetime | None, str | None]]:
    # what could never be computed is stale since -infinity, which no datetime holds
    query = sql.SQL(
        "select symbol, case when stale_from is not null then greatest(stale_from, '0001-01-02') end, reason"
        " from features.{} where symbol = any(%s)"
    ).format(sql.Identifier(f"freshness_{timeframe}"))
    return {symbol: (since, why) for symbol, since, why in cursor.execute(query, (list(symbols),))}


def _splits(cursor: psycopg.Cursor, sessions: Mapping[str, SessionTimes]) -> dict[str, tuple[str, ...]]:
    """Announced splits that take effect between the newest bar and where its decision trades."""
    known = {symbol: times.newest_close for symbol, times in sessions.items() if times.newest_close is not None}
    cursor.execute(
        """
        select splits.symbol, format('%%s splits %%s for %%s on %%s', splits.symbol, trim_scale(splits.split_to),
          trim_scale(splits.split_from), splits.execution_date) as in_words
        from unnest(%s::text[], %s::timestamptz[]) as asked (symbol, newest_close)
        inner join canonical.announced_splits as splits using (symbol)
        inner join reference.instruments using (symbol)
        inner join lateral (select session_date from reference.trading_sessions
          where calendar = instruments.calendar and open_at < asked.newest_close order by open_at desc limit 1
        ) as decided on true
        inner join lateral (select session_date from reference.trading_sessions
          where calendar = instruments.calendar and close_at > asked.newest_close order by close_at limit 1
        ) as following on true
        where splits.execution_date > decided.session_date and splits.execution_date <= following.session_date
        order by splits.symbol, splits.execution_date
        """,
        (list(known), list(known.values())),
    )
    found: dict[str, tuple[str, ...]] = {}
    for symbol, in_words in cursor:
        found[symbol] = (*found.get(symbol, ()), in_words)
    return found


def _sessions(cursor: psycopg.Cursor, timeframes: Mapping[str, str], now: datetime) -> dict[str, SessionTimes]:
    # bars are counted from the session's open, and the last one ends with the session
    cursor.execute(
        """
        select asked.symbol, ended.newest_close, greatest(following.open_at, ended.newest_close) as next_open,
        begun.open_at, begun.close_at, timeframes.length
        from unnest(%(symbols)s::text[], %(timeframes)s::text[]) as asked (symbol, timeframe)
        inner join reference.instruments using (symbol)
        inner join reference.timeframes on timeframes.timeframe = asked.timeframe
        inner join lateral (select open_at, close_at from reference.trading_sessions
          where calendar = instruments.calendar and open_at <= %(now)s order by open_at desc limit 1) as begun on true
        left join lateral (select close_at from reference.trading_sessions
          where calendar = instruments.calendar and close_at <= %(now)s order by close_at desc limit 1
        ) as closed on true
        cross join lateral (select greatest(closed.close_at, case when %(now)s < begun.close_at
            and begun.open_at + timeframes.length <= %(now)s
          then date_bin(timeframes.length, %(now)s, begun.open_at) end) as newest_close) as ended
        left join lateral (select open_at from reference.trading_sessions
          where calendar = instruments.calendar and close_at > ended.newest_close order by close_at limit 1
        ) as following on true
        """,
        {"symbols": list(timeframes), "timeframes": list(timeframes.values()), "now": now},
    )
    return {
        symbol: SessionTimes(newest_close, next_open, newest_open, session_close, window_of(length))
        for symbol, newest_close, next_open, newest_open, session_close, length in cursor
    }
