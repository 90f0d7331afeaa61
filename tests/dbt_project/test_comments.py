"""Whoever looks at a public relation with `\\d+` reads there what each column means."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.machine import BUILT, ROOT, running_warehouse
from warehouse.connection import connect

pytestmark = pytest.mark.database

# the comments of all columns in a schema
COMMENTS = """
    select pg_class.relname, pg_attribute.attname, col_description(pg_class.oid, pg_attribute.attnum)
    from pg_class
    inner join pg_attribute on pg_attribute.attrelid = pg_class.oid
    where
        pg_class.relnamespace = %s::regnamespace
        and pg_class.relkind in ('r', 'v')
        and pg_attribute.attnum > 0
        and not pg_attribute.attisdropped
"""


def _public_models(schema: str) -> list[dict[str, Any]]:
    (file,) = (ROOT / "dbt_project" / "models" / schema).glob("_*__models.yml")
    models = yaml.safe_load(file.read_text())["models"]
    return [model for model in models if not model["name"].startswith("int_")]


def test_every_column_of_a_public_relation_has_its_comment(tmp_path: Path) -> None:
    missing = []
    with running_warehouse(tmp_path / "state", BUILT), connect("analyst") as connection:
        for schema in ("canonical", "features", "results"):
            rows = connection.execute(COMMENTS, (schema,)).fetchall()
            found = {(relation, column): comment for relation, column, comment in rows}
            missing += [
                f"{schema}.{model['name']}.{column['name']}"
                for model in _public_models(schema)
                for column in model["columns"]
                if (found.get((model["name"], column["name"])) or "").strip() != column["description"].strip()
            ]
    assert missing == []
