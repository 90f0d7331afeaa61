"""The daily run beside people who read, and dry runs beside it."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from flows.dbt_command import DBT_PROJECT_DIR, run_dbt
from tests.machine import Demo, lend_parsed
from warehouse import sessions
from warehouse.connection import connect, endpoint

pytestmark = pytest.mark.xdist_group("demo")


def test_an_analysts_open_transaction_holds_up_no_daily_run(demo: Demo) -> None:
    """A notebook that has read everything stays open: the build waits for nobody, and the notebook's snapshot stays."""
    relations = [
        "features.features_1d", "features.freshness", "features.catalog", "canonical.ohlcv_1d", "canonical.gaps",
        "reference.instruments", "reference.vendor_symbols", "results.leaderboard", "results.parity",
    ]  # fmt: skip
    with connect("analyst") as notebook:
        notebook.execute("set transaction isolation level repeatable read")
        counted = [notebook.execute(f"select count(*) from {relation}").fetchone() for relation in relations]
        with pytest.MonkeyPatch.context() as patch:
            patch.setitem(sessions._LIMITS, "lock_timeout", "2s")
            run_dbt("build", "--exclude-resource-type", "unit_test")
        assert [notebook.execute(f"select count(*) from {relation}").fetchone() for relation in relations] == counted


def test_a_dry_run_leaves_everything_as_it_was(demo: Demo) -> None:
    """`dbt build --empty`, as somebody's continuous integration does it."""
    look = """
        select 'view', relname, md5(pg_get_viewdef(oid)) from pg_class
        where relkind = 'v' and relnamespace in ('canonical'::regnamespace, 'features'::regnamespace)
        union all select 'definition', relation, definition from canonical.definitions
        union all select 'fingerprint', timeframe || ' ' || feature, fingerprint from features.catalog
        union all select 'rows', 'features_1d', count(*)::text from features.features_1d
        order by 1, 2, 3
    """
    with connect("analyst", autocommit=True) as connection:
        before = connection.execute(look).fetchall()
        run_dbt("build", "--empty", "--exclude-resource-type", "test", "--exclude-resource-type", "unit_test")
        assert connection.execute(look).fetchall() == before
        # a dry run of an input, and what it feeds afterwards
        run_dbt("run", "--empty", "--select", "stg_polygon__bars")
        run_dbt("run", "--select", "ohlcv_1d", "features_1d")
        assert connection.execute(look).fetchall() == before


def test_dbt_show_of_a_live_model_shows_its_rows(demo: Demo, tmp_path: Path) -> None:
    lend_parsed(tmp_path)
    folders = ("--profiles-dir", ".", "--target-path", str(tmp_path), "--log-path", str(tmp_path))
    command = (sys.executable, "-m", "dbt.cli.main", "--quiet", "show", "--select", "ohlcv_1d", "--limit", "3")
    shown = subprocess.run(
        [*command, "--output", "json", *folders],
        cwd=DBT_PROJECT_DIR,
        env=os.environ | endpoint().environment("transformer"),
        capture_output=True,
        text=True,
        check=True,
    )
    rows = json.loads(shown.stdout)["show"]
    assert [row["close"] > 0 for row in rows] == [True] * 3


def test_a_symbol_that_leaves_the_seeds_leaves_the_relations(demo: Demo) -> None:
    """It goes from each relation and comes back as it was; nothing of the others moves."""
    look = """
        select symbol, count(*), md5(string_agg(bars::text, ';' order by bar_start)) from {} as bars
        group by symbol order by symbol
    """
    relations = ("canonical.ohlcv_1d", "features.features_1d")
    with connect("transformer", autocommit=True) as connection:
        before = [connection.execute(look.format(relation)).fetchall() for relation in relations]
        connection.execute("delete from reference.instruments where symbol = 'GOOG'")
        run_dbt("run", "--select", "ohlcv_1d", "features_1d")
        without = [[row for row in rows if row[0] != "GOOG"] for rows in before]
        assert [connection.execute(look.format(relation)).fetchall() for relation in relations] == without
        run_dbt("seed")
        run_dbt("run", "--select", "ohlcv_1d", "features_1d")
        assert [connection.execute(look.format(relation)).fetchall() for relation in relations] == before


def test_two_builds_at_once_take_turns(demo: Demo, tmp_path: Path) -> None:
    """Both end well, and what both of them grew is there once."""
    look = "select symbol, bar_start, md5(bars::text) from {} as bars order by symbol, bar_start"
    relations = ("reference.instruments", "canonical.ohlcv_1d", "features.features_1d")
    keys = {"reference.instruments": "select * from reference.instruments order by symbol"}
    with connect("transformer", autocommit=True) as connection:
        before = [connection.execute(keys.get(name) or look.format(name)).fetchall() for name in relations]
        for relation in ("canonical.ohlcv_1d__history", "features.features_1d__history"):
            connection.execute(f"delete from {relation} where bar_start >= '2012-01-01'")
        for number in ("1", "2"):
            lend_parsed(tmp_path / number)
        builds = [
            subprocess.Popen(
                [sys.executable, "-m", "dbt.cli.main", "--quiet", "build", "--exclude-resource-type", "test",
                 "--exclude-resource-type", "unit_test", "--select", "+features_1d", "catalog", "--profiles-dir", ".",
                 "--target-path", str(tmp_path / number), "--log-path", str(tmp_path / number)],
                cwd=DBT_PROJECT_DIR,
                env=os.environ | endpoint().environment("transformer"),
                stdout=subprocess.PIPE,
                text=True,
            )
            for number in ("1", "2")
        ]  # fmt: skip
        for build in builds:
            printed, _ = build.communicate(timeout=300)
            assert build.returncode == 0, printed
        assert [connection.execute(keys.get(name) or look.format(name)).fetchall() for name in relations] == before
