"""A seed is loaded when its file or its table says something new, and features say that rules changed."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from pathlib import Path

import psycopg
import pytest

from flows import dbt_command
from flows.dbt_command import run_dbt
from loaders.client.calendars import ensure_sessions
from tests.canonical.tapes import Exchange, Tape, numbered, walk
from tests.machine import BUILT, running_warehouse
from warehouse.connection import connect
from warehouse.rows import scalar


@pytest.fixture(scope="module")
def seeds(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The folder of the seeds of a project of the module's own, whose files may be edited."""
    folder = tmp_path_factory.mktemp("seeds")
    with running_warehouse(folder / "state", BUILT), pytest.MonkeyPatch.context() as patch:
        shutil.copytree(dbt_command.DBT_PROJECT_DIR, folder / "project")
        patch.setattr(dbt_command, "DBT_PROJECT_DIR", folder / "project")
        run_dbt("seed")
        yield folder / "project" / "seeds"


@contextmanager
def _edited(file: Path, old: str, new: str) -> Iterator[None]:
    before = file.read_text()
    assert old in before
    file.write_text(before.replace(old, new, 1))
    try:
        yield
    finally:
        file.write_text(before)


def _versions() -> dict[str, set[str]]:
    """Of each seed the transactions that wrote its rows."""
    with connect("analyst") as reader:
        tables = reader.execute("select seed from canonical.loaded_seeds order by seed").fetchall()
        return {
            seed: {row[0] for row in reader.execute(f"select xmin::text from reference.{seed}")} for (seed,) in tables
        }


def _loaded_again() -> set[str]:
    before = _versions()
    run_dbt("seed")
    after = _versions()
    return {seed for seed in after if after[seed] != before[seed]}


def _exchange_of(symbol: str, loader: psycopg.Connection, transformer: psycopg.Connection) -> None:
    ensure_sessions(loader, "XNYS", date(2024, 12, 31))
    exchange = Exchange(loader, transformer)
    exchange.send(Tape(symbol, numbered(walk(1, 30))))
    exchange.refresh_statistics()


def test_what_did_not_change_is_left(seeds: Path) -> None:
    assert len(_versions()["instruments"]) == 1
    assert _loaded_again() == set()
    with _edited(seeds / "instruments.csv", "Apple Inc.", "Apple"):
        assert _loaded_again() == {"instruments"}
        with connect("analyst") as reader:
            says = "select description from reference.instruments where symbol = 'AAPL'"
            assert scalar(reader.execute(says)) == "Apple"
    assert _loaded_again() == {"instruments"}


def test_a_file_that_is_large_is_left_too(seeds: Path) -> None:
    """dbt takes no checksum of more than a megabyte."""
    names = "".join(f"large,{n:04d}{'X' * 300},2024-01-02,\n" for n in range(3500))
    with _edited(seeds / "universes.csv", "valid_to\n", f"valid_to\n{names}"):
        assert [_loaded_again() for _ in range(2)] == [{"universes"}, set()]
        with _edited(seeds / "universes.csv", "large,0000", "large,9999"):
            assert _loaded_again() == {"universes"}
    assert _loaded_again() == {"universes"}


def test_a_table_that_somebody_changed_is_as_its_file_again(seeds: Path) -> None:
    with connect("transformer") as transformer:
        transformer.execute("delete from reference.instruments where symbol = 'IBM'")
    assert _loaded_again() == {"instruments"}
    with connect("analyst") as reader:
        assert scalar(reader.execute("select count(*) from reference.instruments where symbol = 'IBM'")) == 1


def test_a_line_that_counts_for_nothing_is_told_each_time(seeds: Path) -> None:
    with _edited(seeds / "activity_limits.csv", "crypto,1d,1,7\n", "crypto,1d,1,7\nequity,1d,5,20\n"):
        assert [_loaded_again() for _ in range(2)] == [{"activity_limits"}] * 2
    assert [_loaded_again() for _ in range(2)] == [{"activity_limits"}, set()]


def test_features_say_that_rules_changed_since_their_build(seeds: Path) -> None:
    stale = "select stale_from, reason from features.freshness where symbol = 'AAPL' and timeframe = '1d'"
    with (
        connect("loader") as loader,
        connect("transformer", autocommit=True) as transformer,
        connect("analyst", autocommit=True) as reader,
    ):
        _exchange_of("AAPL", loader, transformer)
        run_dbt("run", "--select", "ohlcv_1d", "features_1d")
        assert reader.execute(stale).fetchall() == [(None, None)]
        with _edited(seeds / "activity_limits.csv", "equity,1d,5,20", "equity,1d,6,20"):
            run_dbt("seed")
            told = "activity_limits changed after its history was built: run `dbt build`"
            assert reader.execute(f"select reason from ({stale}) as stale").fetchall() == [(told,)]
            # not in an index's way: nobody without a history waits for a build
            others = "select count(*) from features.freshness where stale_from is not null and symbol <> 'AAPL'"
            assert scalar(reader.execute(others)) == 0
            run_dbt("run", "--select", "ohlcv_1m", "ohlcv_1d", "features_1d")
            assert reader.execute(stale).fetchall() == [(None, None)]
        run_dbt("seed")
        assert reader.execute(f"select reason from ({stale}) as stale").fetchall() == [(told,)]


@pytest.mark.parametrize(
    ("seed", "line"),
    [
        ("confirmations", "MSFT,1d,2024-01-10,price,reject,,,,,,,,seen,the exchange"),
        ("vendor_symbols", "MSFT,binance,MS,,"),
    ],
)
def test_features_say_that_a_line_of_their_symbol_changed(seeds: Path, seed: str, line: str) -> None:
    """`ingest` loads the seeds, too: nobody trades on a bar that a person has rejected since the build."""
    stale = "select symbol, reason from features.freshness where stale_from is not null and timeframe = '1d' order by 1"
    build = ("run", "--select", "stg_vendors__symbols", "decisions", "ohlcv_1m", "ohlcv_1d", "features_1d")
    with (
        connect("loader") as loader,
        connect("transformer", autocommit=True) as transformer,
        connect("analyst", autocommit=True) as reader,
    ):
        for symbol in ("IBM", "MSFT"):
            _exchange_of(symbol, loader, transformer)
        run_dbt("seed")
        run_dbt(*build)
        assert reader.execute(stale).fetchall() == []
        header = (seeds / f"{seed}.csv").read_text().splitlines()[0]
        told = f"{seed} changed after its history was built: run `dbt build`"
        with _edited(seeds / f"{seed}.csv", header, f"{header}\n{line}"):
            run_dbt("seed")
            assert reader.execute(stale).fetchall() == [("MSFT", told)]
            run_dbt(*build)
            assert reader.execute(stale).fetchall() == []
        run_dbt("seed")
        assert reader.execute(stale).fetchall() == [("MSFT", told)]
