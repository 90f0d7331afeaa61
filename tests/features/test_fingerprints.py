"""A feature's fingerprint follows everything it is computed from, and nothing else."""

import os
import shutil
from pathlib import Path

import psycopg
import pytest
from dbt.cli.main import dbtRunner

from tests.machine import lend_parsed
from warehouse.connection import connect, endpoint, open_connection

PROJECT = Path(__file__).resolve().parents[2] / "dbt_project"
QUANTITIES = "macros/features/quantities.sql"

# in a copy of the project: words of people, the layout of an expression, a constant, and a macro of several features
EDITS = {
    QUANTITIES: [
        ("{# What several features share, computed once. #}", "{# Shared. #}"),
        ("-- the mean with weights 1 to 20, the newest bar the heaviest", "-- the newest bar weighs most"),
        ("{{ ema('close', 12) }} as ema_12,", "{{ ema('close', 13) }}\n        as ema_12,"),
    ],
    "macros/features/groups/momentum.sql": [
        ("close_ago_10') }} as roc_10", "close_ago_10') }}\n    as roc_10"),
        ("(fast_k + fast_k_ago_1 + fast_k_ago_2) / 3", "(fast_k + fast_k_ago_1\n        + fast_k_ago_2) / 3"),
    ],
    "macros/features/bars.sql": [("-- flags, because the planner", "-- because the planner")],
    "macros/features/arithmetic.sql": [("least(low_min_20, low_min_20_ago_20", "least(low_min_20, low_min_20_ago_19")],
    "models/features/_features__models.yml": [("Log return over 1 bar.", "The log return of one bar.")],
    "models/canonical/ohlcv_1d.sql": [("with watermarks as (", "-- a comment\nwith watermarks as (")],
}
REACHED = {"ema_12", "ema_12_twice", "close_to_ema_12", "dema_12_to_close", "ppo_12_26"}
REACHED |= {"position_in_range_60"}

Fingerprints = dict[tuple[str, str], str]


# a rule that all features share
RULE = {"macros/features/bars.sql": [("bars_in_row > {{ lookback }}", "bars_in_row >= {{ lookback }}")]}


@pytest.fixture(scope="module")
def catalogs(warehouse_db: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    """The catalog's SQL as the project is, and as it is edited."""
    folder = tmp_path_factory.mktemp("edited")
    return compiled(PROJECT, folder / "unedited"), compiled(edited(EDITS, folder / "dbt_project"), folder / "edited")


def edited(edits: dict[str, list[tuple[str, str]]], project: Path) -> Path:
    """A copy of the project with other words in some places."""
    shutil.copytree(PROJECT, project, ignore=shutil.ignore_patterns("target", "logs"))
    for file, changes in edits.items():
        content = (project / file).read_text()
        for old, new in changes:
            assert old in content
            content = content.replace(old, new)
        (project / file).write_text(content)
    return project


def compiled(project: Path, scratch: Path) -> str:
    """What `dbt run` would build the catalog from."""
    lend_parsed(scratch)
    folders = ["--project-dir", project, "--profiles-dir", project, "--target-path", scratch, "--log-path", scratch]
    with pytest.MonkeyPatch.context() as patch:
        for name, value in endpoint().environment("transformer").items():
            patch.setitem(os.environ, name, value)
        outcome = dbtRunner().invoke(["--quiet", "compile", "--select", "catalog", *map(str, folders)])
    assert outcome.success, outcome.exception
    return outcome.result.results[0].node.compiled_code


def fingerprints(connection: psycopg.Connection, catalog: str) -> Fingerprints:
    """By timeframe and feature."""
    rows = connection.execute(f"select timeframe, feature, fingerprint from ({catalog}) as catalog").fetchall()
    return {(timeframe, feature): fingerprint for timeframe, feature, fingerprint in rows}


def changed(before: Fingerprints, after: Fingerprints) -> set[tuple[str, str]]:
    assert before.keys() == after.keys()
    return {key for key in before if before[key] != after[key]}


def test_a_constant_changes_exactly_the_features_it_reaches(catalogs: tuple[str, str]) -> None:
    with connect("transformer") as connection:
        before, after = (fingerprints(connection, catalog) for catalog in catalogs)
    timeframes = {timeframe for timeframe, _ in before}
    assert len(timeframes) == 6
    assert changed(before, after) == {(timeframe, feature) for timeframe in timeframes for feature in REACHED}
    for one in timeframes:
        distinct = [fingerprint for (timeframe, _), fingerprint in before.items() if timeframe == one]
        assert len(set(distinct)) == len(distinct) > 100


def test_what_the_features_stand_on_is_part_of_them(catalogs: tuple[str, str]) -> None:
    with connect("transformer") as connection:
        before = fingerprints(connection, catalogs[0])
        connection.execute("insert into canonical.definitions values ('ohlcv_1d', 'another')")
        days = fingerprints(connection, catalogs[0])
        connection.execute("insert into canonical.definitions values ('ohlcv_1m', 'another')")
        minutes = fingerprints(connection, catalogs[0])
        connection.rollback()
    assert changed(before, days) == {key for key in before if key[0] == "1d"}
    assert changed(days, minutes) == before.keys(), "bars of every timeframe are made of minutes"


def test_so_is_the_step_of_a_recursion(catalogs: tuple[str, str]) -> None:
    """The administrator replaces it in a transaction that is never committed."""
    where = endpoint()
    with open_connection(where, where.conninfo()) as owner:
        before = fingerprints(owner, catalogs[0])
        owner.execute(
            "create or replace function features.ema_step(state float8, x float8, alpha float8) returns float8"
            " language plpgsql immutable strict parallel safe as"
            " $$ begin return (1 - alpha) * state + alpha * x; end $$"
        )
        after = fingerprints(owner, catalogs[0])
        owner.rollback()
    reached = {feature for timeframe, feature in changed(before, after)}
    assert {"rsi_14", "atr_14", "macd_signal", "adx_14"} <= reached
    assert reached.isdisjoint({"ret_1", "sma_20", "beta_60", "volatility_20", "month_sin"})


def test_so_is_a_rule_that_all_features_share(catalogs: tuple[str, str], tmp_path: Path) -> None:
    ruled = compiled(edited(RULE, tmp_path / "dbt_project"), tmp_path / "compiled")
    with connect("transformer") as connection:
        before, after = (fingerprints(connection, catalog) for catalog in (catalogs[0], ruled))
    assert changed(before, after) == before.keys()
