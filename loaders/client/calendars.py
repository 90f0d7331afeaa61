"""Trading sessions from exchange_calendars: they say which bars must exist."""

from collections.abc import Collection
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from zoneinfo import ZoneInfo

import exchange_calendars
import psycopg
from exchange_calendars.errors import InvalidCalendarName

from warehouse.errors import Stop
from warehouse.rows import scalar

# session_no counts from here, whatever the first bar of a symbol; the day must never change
ORIGIN = date(1990, 1, 1)
# the time zone in which session dates of US equities are meant
EXCHANGE_TIME = ZoneInfo("America/New_York")
# trades without a pause: a session is a UTC day
ALWAYS_OPEN = "24x7"
HORIZON = timedelta(days=365)


def ensure_sessions(connection: psycopg.Connection, calendar_name: str, today: date) -> int:
    """Append the sessions of a calendar through about a year after today; return how many were new."""
    newest = scalar(
        connection.execute(
            "select max(session_date) from reference.trading_sessions where calendar = %s", (calendar_name,)
        )
    )
    if newest is not None and newest > today + HORIZON / 2:
        return 0
    sessions = _sessions(calendar_name, today + HORIZON)
    with connection.transaction(), connection.cursor() as cursor:
        # whoever else adds sessions of any calendar waits until these are counted
        cursor.execute("select pg_advisory_xact_lock(hashtext('reference.trading_sessions'))")
        cursor.executemany(
            """
            insert into reference.trading_sessions (calendar, session_date, open_at, close_at, session_no)
            values (%s, %s, %s, %s, %s) on conflict do nothing
            """,
            [session for session in sessions if newest is None or session[1] > newest],
        )
        added = cursor.rowcount
        cursor.execute("select reference.count_session_bars(%s)", (calendar_name,))
    return added


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


def _sessions(calendar_name: str, end: date) -> list[tuple[str, date, datetime, datetime, int]]:
    try:
        library_name = "24/7" if calendar_name == ALWAYS_OPEN else calendar_name
        calendar = exchange_calendars.get_calendar(library_name, start=str(ORIGIN), end=str(end))
    except InvalidCalendarName:
        raise Stop(
            f"unknown exchange calendar {calendar_name!r} in seeds/instruments.csv:"
            f" use a name that exchange_calendars knows, such as XNYS, or {ALWAYS_OPEN}"
        ) from None
    schedule = calendar.schedule
    return [
        (calendar_name, session.date(), row.open.to_pydatetime(), row.close.to_pydatetime(), number)
        for number, (session, row) in enumerate(schedule.iterrows(), start=1)
    ]
