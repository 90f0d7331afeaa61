"""A benchmark that is taken out of the seeds is in no feature any more, and comes back with its line."""

from datetime import date
from pathlib import Path

from flows.dbt_command import run_dbt
from loaders.client.calendars import ensure_sessions
from tests.canonical.tapes import Exchange, Tape, numbered, walk
from tests.machine import BUILT, running_warehouse
from warehouse.connection import connect

SESSIONS = 100
BUILD = ("run", "--select", "ohlcv_1d", "features_1d")


def test_features_follow_their_benchmark(tmp_path: Path) -> None:
    with (
        running_warehouse(tmp_path, BUILT),
        connect("loader") as loader,
        connect("transformer", autocommit=True) as transformer,
        connect("analyst", autocommit=True) as reader,
    ):

        def features() -> list[tuple]:
            rows = "select rows::text from features.features_1d as rows where symbol = 'AAPL' order by bar_start"
            return reader.execute(rows).fetchall()

        def stale() -> list[tuple]:
            return reader.execute("select symbol from features.freshness_1d where stale_from is not null").fetchall()

        ensure_sessions(loader, "XNYS", date(2024, 12, 31))
        exchange = Exchange(loader, transformer)
        exchange.send(Tape("IBM", numbered(walk(1, SESSIONS))))
        exchange.send(Tape("AAPL", numbered(walk(2, SESSIONS))))
        exchange.refresh_statistics()
        run_dbt(*BUILD)
        beside = features()
        compared = "select bool_or(has_cross_asset) from features.features_1d where symbol = 'AAPL'"
        assert (stale(), reader.execute(compared).fetchall()) == ([], [(True,)])

        line = transformer.execute("delete from reference.instruments where symbol = 'IBM' returning *").fetchall()
        assert stale() == [("AAPL",)]
        run_dbt(*BUILD)
        alone = features()
        assert (stale(), reader.execute(compared).fetchall()) == ([], [(False,)])
        run_dbt(*BUILD, "--full-refresh")
        assert features() == alone

        places = ", ".join(["%s"] * len(line[0]))
        transformer.execute(f"insert into reference.instruments values ({places})", line[0])
        run_dbt(*BUILD)
        assert (stale(), features()) == ([], beside)
