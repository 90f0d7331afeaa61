"""Instants as the sandbox keeps them, whole microseconds since 1970-01-01 UTC, and how vendors write them."""

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

NEW_YORK = ZoneInfo("America/New_York")
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)
SECOND = 1_000_000
MINUTE = 60 * SECOND
DAY = 86_400 * SECOND


def micros(moment: datetime) -> int:
    """Microseconds since the epoch of an aware datetime."""
    return (moment - EPOCH) // MICROSECOND


def instant(at: int) -> datetime:
    """The UTC datetime of `at` microseconds since the epoch."""
    return EPOCH + at * MICROSECOND


def parse_instant(text: str) -> int:
    """Microseconds of an ISO 8601 moment; ValueError if it is not one or carries no UTC offset."""
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError(f"{text} has no UTC offset; write it like 2012-09-28T20:15:00Z")
    return micros(moment)


def midnight(day: date) -> int:
    """00:00 in New York on `day`: the start of a daily stock bar, and when a corporate action takes effect."""
    return micros(datetime(day.year, day.month, day.day, tzinfo=NEW_YORK))


def new_york_date(at: int) -> date:
    """The calendar day in New York at this instant."""
    return instant(at).astimezone(NEW_YORK).date()


def iso_utc(at: int) -> str:
    """RFC 3339 in UTC with the fraction's trailing zeros dropped: 2012-10-01T13:30:00.25Z."""
    return _without_trailing_zeros(instant(at)) + "Z"


def iso_new_york(at: int) -> str:
    """RFC 3339 at New York's offset: 2012-10-01T09:30:00-04:00."""
    local = instant(at).astimezone(NEW_YORK)
    offset = local.isoformat()[-6:]
    return _without_trailing_zeros(local) + offset


def _without_trailing_zeros(moment: datetime) -> str:
    text = moment.strftime("%Y-%m-%dT%H:%M:%S")
    return f"{text}.{moment.microsecond:06d}".rstrip("0") if moment.microsecond else text
