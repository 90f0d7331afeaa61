"""A tape that cannot be played is refused in one sentence that names the file and what it lacks."""

from collections.abc import Callable
from datetime import date
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from sandbox.errors import SandboxError
from sandbox.tape import files as tape
from tests.sandbox.stage import DAYS, daily


def test_missing_columns_are_named(november: Path) -> None:
    path = november / "bars.parquet"
    pq.write_table(pq.read_table(path).drop_columns(["close", "volume"]), path)
    with pytest.raises(SandboxError, match=r"bars\.parquet lacks close, volume; it must have symbol, timeframe"):
        tape.load(november)


def test_splits_without_a_ratio_are_named(november: Path) -> None:
    path = november / "splits.parquet"
    pq.write_table(pq.read_table(path).drop_columns(["split_to"]), path)
    with pytest.raises(SandboxError, match=r"splits\.parquet lacks split_to"):
        tape.load(november)


def test_a_folder_that_is_not_there_or_empty(tmp_path: Path) -> None:
    with pytest.raises(SandboxError, match=r"no tape folder .*make-tape"):
        tape.load(tmp_path / "nowhere")
    with pytest.raises(SandboxError, match="holds no bars"):
        tape.load(tmp_path)


def test_a_file_that_is_no_parquet(november: Path) -> None:
    (november / "more.parquet").write_text("symbol,timeframe")
    with pytest.raises(SandboxError, match=r"more\.parquet is not a Parquet file"):
        tape.load(november)


def test_a_bar_start_without_a_time_zone(november: Path) -> None:
    path = november / "bars.parquet"
    table = pq.read_table(path)
    pq.write_table(table.set_column(2, "bar_start", table["bar_start"].cast(pa.timestamp("us"))), path)
    with pytest.raises(SandboxError, match="must be a timestamp with a time zone"):
        tape.load(november)


def test_an_empty_price(november: Path) -> None:
    path = november / "bars.parquet"
    table = pq.read_table(path)
    pq.write_table(table.set_column(4, "high", pa.array([float("nan")] * table.num_rows)), path)
    with pytest.raises(SandboxError, match="empty or infinite high"):
        tape.load(november)


def test_an_unknown_timeframe(make_tape: Callable[..., Path]) -> None:
    bars = [(symbol, "7m", *rest) for symbol, _, *rest in daily("UP", {DAYS[0]: (1, 1, 1, 1)})]
    with pytest.raises(SandboxError, match="has the timeframe 7m; a tape may hold 1d, 1m"):
        tape.load(make_tape(bars))


def test_the_same_bar_twice(make_tape: Callable[..., Path]) -> None:
    bars = daily("UP", {DAYS[0]: (1, 1, 1, 1)})
    with pytest.raises(SandboxError, match=r"1d bar of UP at 2012-11-19.* twice"):
        tape.load(make_tape(bars + bars))


def test_a_daily_bar_lasts_as_long_as_its_session(november: Path) -> None:
    loaded = tape.load(november)
    bars = loaded.bars["UP", "1d"]
    hours = (bars.closes_at - bars.opens_at) / 3.6e9
    assert hours.tolist() == [6.5, 6.5, 6.5, 3.5, 6.5, 6.5, 6.5, 6.5, 6.5]
    assert loaded.sessions.on(date(2012, 11, 22)) is None
