"""The daily run beside people who read, and dry runs beside it."""

import pytest

from flows.dbt_command import run_dbt
from tests.machine import Demo
from warehouse import sessions
from warehouse.connection import connect

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
