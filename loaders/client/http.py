"""What HTTP itself says in an answer, whoever the vendor is: its clock, how long to wait, why there was none."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from email.utils import parsedate_to_datetime
from typing import Any

import requests

from warehouse.errors import Retry

# connecting, and each read after that
TIMEOUT_S = (5.0, 30.0)
# 1990 to 2100: a time in another unit is not in between
EARLIEST_S, LATEST_S = 631_152_000, 4_102_444_800
# the longest ban that a vendor is known to speak is three days; whatever it asks for, it is asked again within a week
LONGEST_WAIT_S = 7 * 86_400.0
# no price and no volume has more digits before or after its point; a float could not hold it
MOST_DIGITS = 300


def decoded(body: str | bytes) -> Any:
    """JSON, its fractions as decimals. Raises ValueError for what is none, or nests deeper than anybody's answer."""
    try:
        return json.loads(body, parse_float=Decimal)
    except RecursionError:
        raise ValueError("JSON that nests too deep") from None


def is_whole(body: str | bytes) -> bool:
    """Whether a refusal is JSON to its end; one that was cut off, or is a page of somebody on the way, says nothing."""
    try:
        decoded(body)
    except ValueError:
        return False
    return True


def clock(headers: Mapping[str, str], vendor: str) -> datetime:
    """The answer's Date, UTC. Raises Retry when it has none: then nobody can tell which bars are final."""
    try:
        return present(_moment(headers["Date"]))
    except (KeyError, ValueError):
        raise Retry(f"{vendor} did not say what time it is (no Date in its answer that a clock can show)") from None


def present(moment: datetime) -> datetime:
    """A moment that a clock can show. Raises ValueError for one before 1990 or after 2099."""
    if not EARLIEST_S <= moment.timestamp() < LATEST_S:
        raise ValueError(f"{moment} is not the time of any clock")
    return moment


def seconds_to_wait(headers: Mapping[str, str], otherwise: float) -> float:
    """The answer's Retry-After, in seconds or as a date; `otherwise` when there is none."""
    text = headers.get("Retry-After", "").strip()
    if text.isdecimal():
        return min(float(text), LONGEST_WAIT_S)
    try:
        moment = _moment(text)
    except ValueError:
        return otherwise
    return min(max(0.0, (moment - datetime.now(UTC)).total_seconds()), LONGEST_WAIT_S)


def _moment(text: str) -> datetime:
    """A date of HTTP, UTC. Raises ValueError for what is none."""
    try:
        found = parsedate_to_datetime(text)
        # -0000 is a zone that is not known, and HTTP knows only UTC
        return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)
    except (TypeError, OverflowError):
        raise ValueError(f"{text!r} is not a date") from None


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
    check_size(found)
    return found


def check_size(found: Decimal | int) -> None:
    """Raises ValueError for a number that no price, volume or amount can be: 1e400000 would not fit the database."""
    if found and abs(Decimal(found).adjusted()) > MOST_DIGITS:
        raise ValueError(f"a number of {abs(Decimal(found).adjusted()):,} digits is no price and no volume")


def whole_number(value: object) -> int:
    """A JSON integer that a count or an identifier can be. Raises ValueError for anything else, 2^70 included."""
    if isinstance(value, bool) or not isinstance(value, int) or not -(2**63) <= value < 2**63:
        raise ValueError(f"{value!r} is not a count")
    return value
