"""Raw rows say truly when and by which transaction they landed, and coverage says no more than a source can answer."""

from itertools import product
from pathlib import Path

import pytest
from psycopg import errors

from tests.machine import as_owner
from warehouse.connection import connect

pytestmark = pytest.mark.database

KLINE = (
    "symbol, interval, open_time, open, high, low, close, volume, close_time, quote_volume, trades, "
    "taker_buy_volume, taker_buy_quote_volume",
    "'X', '1m', '2020-01-01', 1, 1, 1, 1, 1, '2020-01-01 00:01', 1, 1, 1, 1",
)
COVERAGE = (
    "source, dataset, symbol, timeframe, window_start, window_end, rows_received, rows_landed",
    "'v', 'bars', 'X', '1m', '2020-01-01', '2020-01-02', 0, 0",
)
ROWS = {
    "raw.binance_klines": (KLINE, "landed_at", "landed_xid"),
    "raw.polygon_splits": (
        ("id, ticker, execution_date, split_from, split_to", "'s', 'X', '2020-01-01', 1, 2"),
        "landed_at",
        "landed_xid",
    ),
    "raw.vendor_bars": (
        (
            "source, vendor_symbol, timeframe, bar_start, open, high, low, close",
            "'v', 'X', '1d', '2020-01-01', 1, 1, 1, 1",
        ),
        "landed_at",
        "landed_xid",
    ),
    "raw.coverage": (COVERAGE, "asked_at", "landed_xid", "coverage_id"),
    "raw.fill_attempts": (
        (
            "symbol, timeframe, source, window_start, window_end, bars_missing, bars_filled, outcome",
            "'X', '1m', 'v', '2020-01-01', '2020-01-02', 1, 1, 'answered'",
        ),
        "attempted_at",
        "attempt_id",
    ),
    "raw.vendor_notes": (("source, symbol, timeframe, note", "'v', 'X', '1m', 'odd'"), "noted_at", "landed_xid"),
}  # fmt: skip
FORGED = {
    "_at": ("infinity", "-infinity", "9999-01-01", "2012-10-01", "now() - interval '1 hour'"),
    "xid": ("3", "9999999999"),
    "_id": ("1", "9000000000000"),
}
FORGERIES = [(relation, row, column) for relation, (row, *columns) in ROWS.items() for column in columns]
WINDOWS = [
    ("-infinity", "infinity"),
    ("-infinity", "2020-01-01"),
    ("2020-01-01", "infinity"),
    ("0001-01-01", "9999-12-31"),
    ("2020-01-01", "2020-01-01 00:00 BC"),
    ("2020-01-02", "2020-01-01"),
]


def write(who: str, statement: str) -> None:
    with connect("loader") if who == "loader" else as_owner() as connection:
        connection.execute(statement)
        connection.rollback()


@pytest.mark.parametrize("who", ["loader", "owner"])
@pytest.mark.parametrize(("relation", "row", "column"), FORGERIES)
def test_nobody_says_when_a_row_landed(
    who: str, relation: str, row: tuple[str, str], column: str, warehouse_db: Path
) -> None:
    columns, values = row
    write(who, f"insert into {relation} ({columns}) values ({values})")
    for forged in FORGED[column[-3:]]:
        forged = forged if "(" in forged else f"'{forged}'"
        with pytest.raises((errors.CheckViolation, errors.InsufficientPrivilege)):
            write(
                who,
                f"insert into {relation} ({columns}, {column}) overriding system value values ({values}, {forged})",
            )


@pytest.mark.parametrize(("who", "window"), list(product(("loader", "owner"), WINDOWS)))
def test_no_source_answers_for_all_times(who: str, window: tuple[str, str], warehouse_db: Path) -> None:
    columns, values = COVERAGE
    stated = values.replace("'2020-01-01', '2020-01-02'", f"'{window[0]}', '{window[1]}'")
    with pytest.raises(errors.CheckViolation):
        write(who, f"insert into raw.coverage ({columns}) values ({stated})")


@pytest.mark.parametrize("counts", ["-1, 0", "0, -1"])
def test_rows_are_counted(counts: str, warehouse_db: Path) -> None:
    columns, values = COVERAGE
    with pytest.raises(errors.CheckViolation):
        write("loader", f"insert into raw.coverage ({columns}) values ({values.removesuffix('0, 0')}{counts})")
