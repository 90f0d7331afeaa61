"""What HTTP itself says in an answer, whoever the vendor is: its clock, how long to wait, why there was none."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from email.utils import parsedate_to_datetime

import requests

from warehouse.errors import Retry

# connecting, and each read after that
TIMEOUT_S = (5.0, 30.0)
# 1990 to 2100: a time in another unit is not in between
EARLIEST_S, LATEST_S = 631_152_000, 4_102_444_800


def clock(headers: Mapping[str, str], vendor: str) -> datetime:
    """The answer's Date, UTC. Raises Retry when it has none: then nobody can tell which bars are final."""
    try:
        return parsedate_to_datetime(headers["Date"]).astimezone(UTC)
    except (KeyError, ValueError):
        raise Retry(f"{vendor} did not say what time it is (no Date in its answer)") from None


def seconds_to_wait(headers: Mapping[str, str], otherwise: float) -> float:
    """The answer's Retry-After, in seconds or as a date; `otherwise` when there is none."""
    text = headers.get("Retry-After", "").strip()
    if text.isdecimal():
        return float(text)
    try:
        moment = parsedate_to_datetime(text)
    except ValueError:
        return otherwise
    return max(0.0, (moment - datetime.now(UTC)).total_seconds())


def unreachable(vendor: str, error: requests.RequestException) -> Retry:
    """No answer came. The exception's own text is left out: it holds the URL."""
    if isinstance(error, requests.Timeout):
        return Retry(f"{vendor} did not answer in time")
    if isinstance(error, requests.TooManyRedirects):
        return Retry(f"{vendor} redirected the request to another address: check the base URL")
    if isinstance(error, requests.ConnectionError):
        return Retry(f"{vendor} could not be reached: connection refused or lost")
    return Retry(f"{vendor} could not be reached: {type(error).__name__}")


def one_line(text: object, secret: str | None = None) -> str:
    """A vendor's words, short, on one line, and without the key if it repeats it."""
    line = " ".join(str(text).split())[:200]
    return line.replace(secret, "***") if secret else line


def moment_ms(value: object) -> datetime:
    """Unix milliseconds as UTC. Raises ValueError for anything that they cannot be, seconds for example."""
    if isinstance(value, bool) or not isinstance(value, int) or not EARLIEST_S * 1000 <= value < LATEST_S * 1000:
        raise ValueError(f"{value!r} is not a time in milliseconds")
    return datetime.fromtimestamp(value // 1000, UTC) + timedelta(milliseconds=value % 1000)


def moment_s(value: object) -> datetime:
    """Unix seconds as UTC. Raises ValueError for anything that they cannot be, milliseconds for example."""
    if isinstance(value, bool) or not isinstance(value, int) or not EARLIEST_S <= value < LATEST_S:
        raise ValueError(f"{value!r} is not a time in seconds")
    return datetime.fromtimestamp(value, UTC)


def number(value: object) -> Decimal:
    """A JSON number or numeric string with its digits. Raises ValueError for anything else, NaN included."""
    if isinstance(value, bool) or not isinstance(value, int | float | str | Decimal):
        raise ValueError(f"{value!r} is not a number")
    try:
        found = Decimal(str(value))
    except ArithmeticError:
        raise ValueError(f"{value!r} is not a number") from None
    if not found.is_finite():
        raise ValueError(f"{value!r} is not a finite number")
    return found
