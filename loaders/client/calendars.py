"""Trading sessions from exchange_calendars, and what a person knows better: they say which bars must exist."""

import logging
from collections.abc import Collection, Sequence
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from zoneinfo import ZoneInfo

import exchange_calendars
import psycopg
from exchange_calendars.errors import InvalidCalendarName

from warehouse.errors import Skip, Stop
from warehouse.rows import scalar
from warehouse.turns import take_turn

# session_no counts from here, whatever the first bar of a symbol; the day must never change
ORIGIN = date(1990, 1, 1)
# the time zone in which session dates of US equities are meant
EXCHANGE_TIME = ZoneInfo("America/New_York")
# trades without a pause: a session is a UTC day
ALWAYS_OPEN = "24x7"
HORIZON = timedelta(days=365)
# date, open, close (UTC)
Session = tuple[date, datetime, datetime]

log = logging.getLogger("truebar")


def ensure_sessions(connection: psycopg.Connection, calendar_name: str, today: date) -> int:
    """Append the sessions of a calendar through about a year after today; return how many were new.

    Where the library or the seed calendar_overrides has changed since the stored sessions were compared, those that
    differ are replaced from the first such day on, which is logged; live models follow at the next build. Raises Stop
    for a calendar that nobody knows, Skip for one that the library cannot compute.
    """
    newest, fingerprint = connection.execute(
        """
        select
            (select max(session_date) from reference.trading_sessions where calendar = %(calendar)s),
            (select fingerprint from reference.calendar_states where calendar = %(calendar)s)
        """,
        {"calendar": calendar_name},
    ).fetchone() or (None, None)
    overrides = _overrides(connection, calendar_name)
    current = f"exchange_calendars {exchange_calendars.__version__}, {len(overrides)} overrides {overrides}"
    if newest is not None and newest > today + HORIZON / 2 and fingerprint == current:
        return 0
    sessions = _overridden(_sessions(calendar_name, max(today + HORIZON, newest or today)), overrides)
    with connection.transaction(), connection.cursor() as cursor:
        # whoever else adds sessions of any calendar waits until these are counted
        take_turn(connection, "reference.trading_sessions")
        if newest is not None and fingerprint != current:
            _follow(cursor, calendar_name, newest, sessions, current)
        dates, opens, closes = _columns(sessions)
        cursor.execute(
            """
            insert into reference.trading_sessions (calendar, session_date, open_at, close_at, session_no)
            select
                %(calendar)s as calendar,
                sessions.session_date,
                sessions.open_at,
                sessions.close_at,
                coalesce(stored.last_no, 0) + row_number() over (order by sessions.session_date) as session_no
            from unnest(%(dates)s::date[], %(opens)s::timestamptz[], %(closes)s::timestamptz[])
                as sessions (session_date, open_at, close_at)
            cross join (
                select max(session_date) as newest, max(session_no) as last_no
                from reference.trading_sessions
                where calendar = %(calendar)s
            ) as stored
            where sessions.session_date > coalesce(stored.newest, '-infinity')
            """,
            {"calendar": calendar_name, "dates": dates, "opens": opens, "closes": closes},
        )
        added = cursor.rowcount
        cursor.execute("select reference.count_session_bars(%s)", (calendar_name,))
        cursor.execute(
            """
            insert into reference.calendar_states (calendar, fingerprint) values (%s, %s)
            on conflict (calendar) do update set fingerprint = excluded.fingerprint, checked_at = clock_timestamp()
            """,
            (calendar_name, current),
        )
        if added:
            # what is pulled next asks for sessions, and a plan that knows of none of them takes a hundred times as long
            cursor.execute("select raw.refresh_statistics()")
    return added


def _follow(
    cursor: psycopg.Cursor, calendar_name: str, newest: date, sessions: Sequence[Session], fingerprint: str
) -> None:
    """Replace what is stored from the first day that differs; nothing when all is the same."""
    cursor.execute(
        "select session_date, open_at, close_at from reference.trading_sessions where calendar = %s", (calendar_name,)
    )
    stored = {row[0]: row for row in cursor.fetchall()}
    current = {session[0]: session for session in sessions if session[0] <= newest}
    differing = sorted(day for day in stored.keys() | current.keys() if stored.get(day) != current.get(day))
    if not differing:
        return
    days = [session for session in sessions if differing[0] <= session[0] <= newest]
    cursor.execute(
        "select reference.replace_sessions(%s, %s, %s::date[], %s::timestamptz[], %s::timestamptz[], %s)",
        (calendar_name, differing[0], *_columns(days), fingerprint),
    )
    named = ", ".join(map(str, differing[:5])) + (", …" if len(differing) > 5 else "")
    log.warning(
        "calendar %s: %d sessions are other ones than were stored (%s): bars from %s on are computed anew",
        calendar_name,
        len(differing),
        named,
        differing[0],
    )


def _columns(sessions: Sequence[Session]) -> tuple[list[date], list[datetime], list[datetime]]:
    """Dates, opens and closes, as three arrays of a statement."""
    return [day for day, _, _ in sessions], [opened for _, opened, _ in sessions], [closed for _, _, closed in sessions]


def session_zone(calendar_name: str) -> tzinfo:
    """The time zone at whose midnight a session's date begins."""
    return ZoneInfo("UTC") if calendar_name == ALWAYS_OPEN else EXCHANGE_TIME


def midnight(day: date, calendar: str = "XNYS") -> datetime:
    """When a session's date begins where its exchange is, as UTC."""
    return datetime.combine(day, time.min, session_zone(calendar)).astimezone(UTC)


def last_final_session(connection: psycopg.Connection, calendar_name: str, moment: datetime) -> date | None:
    """Date of the newest session that has closed at a moment (UTC)."""
    found: date | None = scalar(
        connection.execute(
            "select max(session_date) from reference.trading_sessions where calendar = %s and close_at <= %s",
            (calendar_name, moment),
        )
    )
    return found


def open_since(connection: psycopg.Connection, calendars: Collection[str], moment: datetime) -> datetime | None:
    """When the session opened in which a moment (UTC) is, the earliest of several; None when all are closed."""
    found: datetime | None = scalar(
        connection.execute(
            """
        select min(open_at) from reference.trading_sessions
        where calendar = any(%(calendars)s) and open_at <= %(moment)s and close_at > %(moment)s
        """,
            {"calendars": list(calendars), "moment": moment},
        )
    )
    return found


def _overrides(connection: psycopg.Connection, calendar_name: str) -> list[tuple[date, str, datetime, datetime]]:
    """What the seed calendar_overrides says of a calendar: (date, add, remove or change, open and close, UTC).

    A line that cannot be, and two of one day, count for nothing; `python -m flows build` tells each with its line.
    """
    if scalar(connection.execute("select to_regclass('reference.calendar_overrides')")) is None:
        return []
    return connection.execute(
        """
        select session_date, what, open_at, close_at
        from (
            select *, count(*) over (partition by session_date) as times_told
            from reference.calendar_overrides
            where
                calendar = %s
                and session_date is not null
                and (what = 'remove' or (what in ('add', 'change') and open_at < close_at))
        ) as told
        where times_told = 1
        order by session_date
        """,
        (calendar_name,),
    ).fetchall()


def _overridden(
    sessions: Sequence[Session], overrides: Sequence[tuple[date, str, datetime, datetime]]
) -> list[Session]:
    by_date = {session[0]: session for session in sessions}
    for day, what, opened, closed in overrides:
        if what == "remove":
            by_date.pop(day, None)
        else:
            by_date[day] = (day, opened, closed)
    return [by_date[day] for day in sorted(by_date)]


def _sessions(calendar_name: str, end: date) -> list[Session]:
    """A calendar's sessions from where its library begins to know them, but not before the origin, to where it ends."""
    library_name = "24/7" if calendar_name == ALWAYS_OPEN else calendar_name
    try:
        known = exchange_calendars.get_calendar(library_name)
        first, last = known.bound_min(), known.bound_max()
        calendar = exchange_calendars.get_calendar(
            library_name,
            start=str(max(ORIGIN, first.date()) if first is not None else ORIGIN),
            end=str(min(end, last.date()) if last is not None else end),
        )
    except InvalidCalendarName:
        raise Stop(
            f"unknown exchange calendar {calendar_name!r} in seeds/instruments.csv:"
            f" use a name that exchange_calendars knows, such as XNYS, or {ALWAYS_OPEN}"
        ) from None
    except ValueError as error:
        raise Skip(f"exchange_calendars cannot compute calendar {calendar_name}: {str(error)[:120]}") from None
    schedule = calendar.schedule
    opens, closes = (schedule[column].dt.to_pydatetime() for column in ("open", "close"))
    return list(zip(schedule.index.date, opens, closes, strict=True))
