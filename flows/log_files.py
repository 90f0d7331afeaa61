"""Logs of helper processes that run for months: they are cut, and the part before that is kept once."""

import shutil
from pathlib import Path

# the same as dbt's
_LARGEST = 10_000_000


def shorten(log_file: Path, largest: int = _LARGEST) -> None:
    """Move what a log holds to `….1` beside it when it has more bytes than `largest`; whoever writes to it goes on.

    Its writers have opened it to append, so they write to its new end. A line that comes between the copy and the cut
    is lost.
    """
    if log_file.exists() and log_file.stat().st_size > largest:
        shutil.copyfile(log_file, log_file.with_suffix(f"{log_file.suffix}.1"))
        with log_file.open("r+") as file:
            file.truncate()
