"""The rows of an answer: in order, at the distance that was asked for, and without those that nobody can read."""

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from itertools import pairwise

from loaders.client.base import RefusedRow, Row, UnknownFormat, Window


def read_rows(
    found: Sequence[object],
    read: Callable[[object], Row],
    start_of: Callable[[Row], datetime],
    window: Window,
    about: str,
) -> tuple[list[Row], list[RefusedRow]]:
    """The rows of an answer whose oldest row should come first, and those of them that `read` refuses.

    Raises UnknownFormat when no row can be read or when most rows come before the one they follow: then the answer's
    format is another. A few rows in the wrong place are put in order. A refused row's window reaches from the bar
    before it to the bar after it.
    """
    rows: list[Row] = []
    # a refusal, and how many rows were read before it
    refusals: list[tuple[UnknownFormat, int]] = []
    for payload in found:
        try:
            rows.append(read(payload))
        except UnknownFormat as error:
            refusals.append((error, len(rows)))
    starts = [start_of(row) for row in rows]
    backward = [(earlier, later) for earlier, later in pairwise(starts) if later < earlier]
    if len(backward) > max(1, (len(starts) - 1) / 2):
        earlier, later = backward[0]
        raise UnknownFormat(f"{about} do not ascend: {earlier} is followed by {later}", list(found))
    refused = [RefusedRow(str(error), error.payload, _between(starts, place, window)) for error, place in refusals]
    if refused and not rows:
        first = refusals[0][0]
        raise UnknownFormat(str(first), first.payload, first.vendor_symbol, refused)
    return sorted(rows, key=start_of), refused


def check_spacing(rows: Sequence[Row], start_of: Callable[[Row], datetime], length: timedelta, about: str) -> None:
    """Raises UnknownFormat when most bars start sooner after the one before than their timeframe allows.

    A few may: venues have restarted their bars off the grid after an outage. `rows` are in order.
    """
    starts = sorted({start_of(row) for row in rows})
    short = [later - earlier for earlier, later in pairwise(starts) if later - earlier < length]
    if len(short) > max(1, (len(starts) - 1) / 2):
        raise UnknownFormat(f"{about} are {min(short)} apart, {length} was asked for", list(rows))


def _between(starts: Sequence[datetime], place: int, window: Window) -> Window:
    """What lies between the bars that were read before and after a place, within the window."""
    # a bar's own end is not told: what comes right after its start may be another's
    before = starts[place - 1] + timedelta(milliseconds=1) if place else window.start
    after = starts[place] if place < len(starts) else window.end
    start = min(max(before, window.start), window.end)
    return Window(start, max(start, min(after, window.end)))
