"""Filling gaps: each missing window of the gap ledger goes to the best ranked vendor that has not answered for it yet.

What a vendor lands shows in the ledger after the next build, so filling goes in rounds: ask, build, see what is left.
"""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import date, datetime

import psycopg

from loaders.client.base import Source, UnknownFormat, Window
from loaders.client.refusals import Refusals, Refused
from loaders.history.ingest import days_of, introduce, reachable
from loaders.history.progress import Progress
from loaders.history.pull import pull
from loaders.raw.instruments import instruments_of
from loaders.raw.landing import uncovered
from warehouse.connection import reading
from warehouse.errors import OperatorError, Retry, Skip

# missing windows this close to each other, in bars, are one question: a page costs the same however full it is
NEARBY_BARS = 500
# bars that every vendor's row failed a check for are asked again: after 1, 2, 4, … hours, so many times
SECOND_LOOKS = 5


@dataclass(frozen=True)
class Missing:
    """Missing bars near each other: [start, end) in UTC, on sessions first to last, for one vendor to answer."""

    symbol: str
    timeframe: str
    source: str
    start: datetime
    end: datetime
    first: date
    last: date
    bars: int


@dataclass(frozen=True)
class Attempt:
    """What came of asking."""

    missing: Missing
    outcome: str
    detail: str = ""


_MISSING = """
    with gaps as (
        select *, outcome = 'explained' as is_second_look
        from canonical.gaps
        where
            timeframe in (select timeframe from canonical.ranked_vendors)
            and not has_flat_bar
            and (%(symbols)s::text[] is null or symbol = any(%(symbols)s))
            and (
                outcome = 'open'
                or kind = 'quarantined' and attempts < %(second_looks)s
                and coalesce(last_attempt_at, '-infinity') < clock_timestamp() - interval '1 hour' * 2 ^ attempts
            )
    ),
    answered as (
        select source, symbol, timeframe, range_agg(tstzrange(window_start, window_end)) as windows
        from (
            select source, symbol, timeframe, window_start, window_end from raw.coverage where dataset = 'bars'
            union all
            select source, symbol, timeframe, window_start, window_end from raw.fill_attempts
            where outcome in ('out of reach', 'unknown symbol')
        ) as settled
        group by source, symbol, timeframe
    ),
    asked as (
        select distinct on (gaps.symbol, gaps.timeframe, gaps.bar_no) gaps.*, vendors.source
        from gaps
        inner join canonical.ranked_vendors as vendors using (symbol, timeframe)
        left join answered using (source, symbol, timeframe)
        where
            not (vendors.source || ' ' || gaps.symbol || ' ' || gaps.timeframe) = any(%(tried)s)
            and (
                gaps.is_second_look
                or (tstzrange(gaps.bar_start, gaps.bar_end) <@ coalesce(answered.windows, '{}')) is not true
            )
        order by gaps.symbol, gaps.timeframe, gaps.bar_no, vendors.rank
    ),
    islands as (
        select *, sum(is_far) over (partition by symbol, timeframe, source order by bar_no) as island
        from (
            select *, (bar_no - lag(bar_no, 1, 0) over in_order > %(nearby)s)::integer as is_far
            from asked
            window in_order as (partition by symbol, timeframe, source order by bar_no)
        ) as stepped
    )
    select symbol, timeframe, source, min(bar_start), max(bar_end), min(session_date), max(session_date), count(*)
    from islands
    group by symbol, timeframe, source, island
    order by source, symbol, timeframe, min(bar_no)
"""


# the ledger is computed when it is read: once for all windows
_LEFT = """
    with gaps as materialized (select symbol, timeframe, bar_start from canonical.gaps where not has_flat_bar)
    select windows.number, count(*)
    from unnest(
        %(numbers)s::integer[], %(symbols)s::text[], %(timeframes)s::text[],
        %(starts)s::timestamptz[], %(ends)s::timestamptz[]
    ) as windows (number, symbol, timeframe, window_start, window_end)
    inner join gaps using (symbol, timeframe)
    where gaps.bar_start >= windows.window_start and gaps.bar_start < windows.window_end
    group by windows.number
"""


def missing_windows(
    connection: psycopg.Connection, symbols: Sequence[str] | None, tried: Collection[tuple[str, str, str]] = ()
) -> list[Missing]:
    """What to ask whom next. `tried` are the (source, symbol, timeframe) that failed and are left alone this time."""
    with reading(connection):
        rows = connection.execute(
            _MISSING,
            {
                "symbols": symbols,
                "second_looks": SECOND_LOOKS,
                "nearby": NEARBY_BARS,
                "tried": [" ".join(names) for names in tried],
            },
        ).fetchall()
    found = [Missing(*row) for row in rows]
    # a longer bar is missing because a minute is: when that is filled it may be there
    return [missing for missing in found if missing.timeframe == "1m"] or found


def ask(
    connection: psycopg.Connection,
    source: Source,
    questions: Sequence[Missing],
    progress: Progress = lambda line: None,
) -> list[Attempt]:
    """Land what a vendor has of its questions. A question it fails at is an attempt like any other.

    Raises Stop when the vendor can answer nothing: a refused key, two symbols in a row refused in the same words, or
    its clock in an unknown format.
    """
    attempts, refusals = [], Refusals()
    introduce(source, instruments_of(connection, source.name, sorted({missing.symbol for missing in questions})))
    now = source.now()
    for missing in questions:
        names = instruments_of(connection, source.name, [missing.symbol])
        try:
            window = Window(missing.start, missing.end)
            if missing.timeframe == "1d":
                window = days_of(missing.first, missing.last, names[0].calendar)
            within = reachable(source, missing.timeframe, window, now)
            if within is None:
                attempts.append(Attempt(missing, "out of reach", f"{source.name} does not go back to {window.start}"))
                continue
            valid = [(name, part) for name in names if (part := name.within(within))]
            if not valid:
                raise Skip(f"{source.name} had no name for {missing.symbol} then, by seeds/vendor_symbols.csv")
            left = []
            for name, part in valid:
                if pull(connection, source, name, missing.timeframe, [part], progress=progress).received:
                    refusals.served()
                left += uncovered(
                    connection, source.name, "bars", missing.symbol, missing.timeframe, part, name.vendor_symbol
                )
            attempts.append(Attempt(missing, "failed" if left else "answered", "not all of it" if left else ""))
        except Skip as error:
            attempts.append(Attempt(missing, "unknown symbol", str(error)))
        except Refused as error:
            attempts.append(Attempt(missing, "failed", str(error)))
            refusals.add(error, names[0].vendor_symbol)
        except (Retry, UnknownFormat) as error:
            attempts.append(Attempt(missing, "failed", str(error)))
    return attempts


def record(connection: psycopg.Connection, attempts: Sequence[Attempt]) -> int:
    """Note the attempts, and how many bars each filled, as the ledger tells after a build; returns their sum."""
    asked = [attempt.missing for attempt in attempts]
    windows = {
        "numbers": list(range(len(asked))),
        "symbols": [missing.symbol for missing in asked],
        "timeframes": [missing.timeframe for missing in asked],
        "starts": [missing.start for missing in asked],
        "ends": [missing.end for missing in asked],
    }
    with reading(connection):
        left: dict[int, int] = dict(connection.execute(_LEFT, windows).fetchall())
    rows = []
    for number, attempt in enumerate(attempts):
        missing = attempt.missing
        filled = max(0, missing.bars - left.get(number, 0))
        window = (missing.symbol, missing.timeframe, missing.source, missing.start, missing.end)
        rows.append((*window, missing.bars, filled, attempt.outcome, attempt.detail))
    with connection.cursor() as cursor:
        cursor.executemany(
            """
            insert into raw.fill_attempts
            (symbol, timeframe, source, window_start, window_end, bars_missing, bars_filled, outcome, detail)
            values (%s, %s, %s, %s, %s, %s, %s, %s, %s)
            """,
            rows,
        )
    connection.commit()
    return sum(row[6] for row in rows)


def fill(
    connection: psycopg.Connection,
    source_named: Callable[[str], Source],
    build: Callable[[], None],
    *,
    symbols: Sequence[str] | None = None,
    progress: Progress = lambda line: None,
) -> int:
    """Ask vendor after vendor for what is missing, until it is filled or nobody is left to ask; bars filled.

    `build` brings canonical bars up to what has landed. Raises the first Stop of a vendor after all others were asked.
    """
    tried: set[tuple[str, str, str]] = set()
    filled = 0
    stopped = None
    while questions := missing_windows(connection, symbols, tried):
        connection.commit()
        attempts = []
        for name in sorted({missing.source for missing in questions}):
            own = [missing for missing in questions if missing.source == name]
            progress(f"{name}: asked for {sum(missing.bars for missing in own)} missing bars in {len(own)} windows")
            try:
                attempts += ask(connection, source_named(name), own, progress)
            except OperatorError as error:
                connection.rollback()
                stopped = stopped or error
                attempts += [Attempt(missing, "failed", str(error)) for missing in own]
        failed = [attempt.missing for attempt in attempts if attempt.outcome == "failed"]
        tried.update((missing.source, missing.symbol, missing.timeframe) for missing in failed)
        build()
        found = record(connection, attempts)
        progress(f"{found} of {sum(missing.bars for missing in questions)} missing bars filled")
        filled += found
    connection.commit()
    if stopped:
        raise stopped
    return filled
