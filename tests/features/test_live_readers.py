"""A reader that polls the live views during builds, regrows and full refreshes never notices them."""

import threading
from datetime import date
from decimal import Decimal
from pathlib import Path

import psycopg
import pytest

from flows.dbt_command import run_dbt
from loaders.client.calendars import ensure_sessions
from loaders.raw.landing import land
from loaders.vendors.polygon import PolygonSource
from tests.machine import BUILT, running_warehouse
from warehouse.connection import connect

SYMBOLS = ("AAPL", "IBM")
# the live models that daily features stand on; the views between them stay
BUILD = ("run", "--select", "ohlcv_1m", "ohlcv_1d", "features_1d")
BARS = 250
RELATIONS = ("canonical.ohlcv_1d", "features.features_1d")


class Reader(threading.Thread):
    """Polls both views. Collects what a reader must never see: errors, doubled keys, keys that vanish."""

    def __init__(self) -> None:
        super().__init__()
        self.polls = 0
        self.complaints: list[str] = []
        self._seen: dict[str, set] = {relation: set() for relation in RELATIONS}
        self._done = threading.Event()

    def run(self) -> None:
        with connect("analyst", autocommit=True) as connection:
            while not self._done.is_set() and not self.complaints:
                for relation in RELATIONS:
                    self._poll(connection, relation)
                self.polls += 1

    def finish(self) -> None:
        self._done.set()
        self.join(timeout=30)

    def _poll(self, connection: psycopg.Connection, relation: str) -> None:
        try:
            keys = connection.execute(f"select symbol, bar_start from {relation}").fetchall()
        except psycopg.Error as error:
            self.complaints.append(f"{relation}: {error}")
            return
        found = set(keys)
        if len(found) != len(keys):
            self.complaints.append(f"{relation}: a key appears twice")
        if lost := self._seen[relation] - found:
            self.complaints.append(f"{relation}: {len(lost)} rows vanished")
        self._seen[relation] = found


@pytest.mark.whole
def test_readers_never_notice_a_build(tmp_path: Path) -> None:
    with running_warehouse(tmp_path, BUILT), connect("loader") as loader:
        ensure_sessions(loader, "XNYS", date(2012, 12, 31))
        starts = loader.execute(
            "select session_date::timestamp at time zone 'America/New_York' from reference.trading_sessions"
            " where calendar = 'XNYS' and session_date >= '2011-06-01' order by session_date limit %s",
            (BARS,),
        ).fetchall()

        def land_bars(numbers: range, price: int) -> None:
            rows = [
                {"ticker": symbol, "multiplier": 1, "timespan": "day", "t": starts[number][0], "v": 10, "vw": None}
                | {"n": None, "otc": False, **dict.fromkeys("ohlc", Decimal(price + number % 7))}
                for symbol in SYMBOLS
                for number in numbers
            ]
            land(loader, PolygonSource.bars_table, rows)
            loader.commit()

        land_bars(range(150), 50)
        loader.execute("select raw.refresh_statistics()")
        loader.commit()
        run_dbt(*BUILD)
        reader = Reader()
        reader.start()
        try:
            for step in range(2):
                land_bars(range(150 + 25 * step, 175 + 25 * step), 50)
                run_dbt(*BUILD)
                land_bars(range(100 + step, 110 + step), 60 + step)
                run_dbt(*BUILD)
                run_dbt(*BUILD, "--full-refresh")
        finally:
            reader.finish()
    assert reader.complaints == []
    assert reader.polls > 10
