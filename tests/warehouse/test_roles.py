"""Boundaries are checked by the database: each role holds the grants of the architecture and no others."""

from pathlib import Path

import psycopg
import pytest
from psycopg import errors

from warehouse.connection import connect

SCHEMAS = ("raw", "reference", "staging", "canonical", "features", "research", "ledger", "results")
READS = {
    "loader": {"raw", "reference", "canonical"},
    "transformer": set(SCHEMAS),
    "trainer": {"reference", "canonical", "features", "research"},
    "executor": {"reference", "canonical", "features", "research", "ledger"},
    "analyst": set(SCHEMAS),
}
CREATES = {"transformer": {"reference", "staging", "canonical", "features", "results"}}
INSERTS = {"loader": {"raw", "reference"}, "trainer": {"research"}, "executor": {"ledger"}}
OWNED_BY_MIGRATIONS = {
    "raw": "coverage",
    "reference": "trading_sessions",
    "research": "hypotheses",
    "ledger": "accounts",
}
# what dbt will own: a probe table a schema, made by the transformer as dbt would
BUILT_BY_DBT = ("staging", "canonical", "features", "results")


@pytest.fixture(scope="module")
def tables(warehouse_db: Path) -> dict[str, str]:
    with connect("transformer") as connection:
        for schema in BUILT_BY_DBT:
            connection.execute(f"create table if not exists {schema}.role_probe (x integer)")
    yield {**OWNED_BY_MIGRATIONS, **dict.fromkeys(BUILT_BY_DBT, "role_probe")}
    with connect("transformer") as connection:
        for schema in BUILT_BY_DBT:
            connection.execute(f"drop table {schema}.role_probe")


def allowed(role: str, statement: str) -> bool:
    """Whether the database lets the role run the statement; nothing is kept."""
    with connect(role) as connection:
        try:
            # a reader's sessions begin read-only, which a reader may change: what counts is what is granted
            connection.execute("set transaction read write")
            connection.execute(statement)
        except errors.InsufficientPrivilege:
            return False
        except psycopg.errors.IntegrityError:
            return True
        finally:
            connection.rollback()
    return True


@pytest.mark.parametrize("role", READS)
@pytest.mark.parametrize("schema", SCHEMAS)
def test_reads(role: str, schema: str, tables: dict[str, str]) -> None:
    assert allowed(role, f"select * from {schema}.{tables[schema]}") == (schema in READS[role])


@pytest.mark.parametrize("role", READS)
@pytest.mark.parametrize("schema", SCHEMAS)
def test_creates(role: str, schema: str, tables: dict[str, str]) -> None:
    assert allowed(role, f"create table {schema}.created_by_{role} (x integer)") == (schema in CREATES.get(role, ()))


@pytest.mark.parametrize("role", READS)
@pytest.mark.parametrize("schema", SCHEMAS)
def test_inserts(role: str, schema: str, tables: dict[str, str]) -> None:
    expected = schema in INSERTS.get(role, ()) or (role == "transformer" and schema in BUILT_BY_DBT)
    assert allowed(role, f"insert into {schema}.{tables[schema]} default values") == expected


@pytest.mark.parametrize("role", READS)
@pytest.mark.parametrize("schema", OWNED_BY_MIGRATIONS)
@pytest.mark.parametrize("change", ["delete from {}", "truncate {}", "drop table {}"])
def test_nobody_rewrites_what_is_append_only(role: str, schema: str, change: str, tables: dict[str, str]) -> None:
    assert not allowed(role, change.format(f"{schema}.{tables[schema]}"))
