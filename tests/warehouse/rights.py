"""warehouse/rights.yaml as a question: may this role do that?"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psycopg
import yaml

from tests.machine import ROOT

FILE = ROOT / "warehouse" / "rights.yaml"
VERBS = ("select", "insert", "update", "delete", "truncate", "references", "trigger")
COLUMN_VERBS = ("select", "insert", "update", "references")

_RELATIONS = """
select
    relations.oid::regclass::text as name,
    schemas.nspname as schema_name,
    relations.relname as relation,
    relations.relkind in ('r', 'p') as is_table,
    relations.relowner = (select oid from pg_roles where rolname = %s) as is_built,
    array(
        select attname::text from pg_attribute
        where attrelid = relations.oid and attnum > 0 and not attisdropped
        order by attnum
    ) as columns
from pg_class as relations
inner join pg_namespace as schemas on relations.relnamespace = schemas.oid
where
    schemas.nspname !~ '^pg_' and schemas.nspname <> 'information_schema'
    and relations.relkind in ('r', 'p', 'v', 'm', 'f')
order by 1
"""


@dataclass(frozen=True)
class Relation:
    """A table or view; `is_built` says that it is the transformer's own."""

    name: str
    schema: str
    relation: str
    is_table: bool
    is_built: bool
    columns: tuple[str, ...]


class Rights:
    """The file, by relation, column, schema and function."""

    def __init__(self, path: Path = FILE) -> None:
        self._file = yaml.safe_load(path.read_text())

    def may(self, role: str, verb: str, relation: Relation) -> bool:
        """On the relation as a whole, which for an insert also means every column."""
        if relation.is_built and role == "transformer":
            return True
        if relation.is_built:
            return verb == "select" and role in self._file["built_by_dbt"].get(relation.schema, ())
        if verb == "insert" and self._entry(relation).get("computed"):
            return False
        return role in self._named(verb, relation)

    def may_with(self, role: str, verb: str, relation: Relation, column: str) -> bool:
        """On one column."""
        if relation.is_built:
            return self.may(role, verb, relation)
        if verb == "insert" and column in self._entry(relation).get("computed", ()):
            return False
        return role in self._named(verb, relation)

    def may_in(self, role: str, verb: str, schema: str) -> bool:
        return role in self._file["schemas"].get(schema, {}).get(verb, ())

    def may_call(self, role: str, function: str) -> bool:
        """A function by its schema and name. Raises LookupError for one that the file does not name."""
        for name in (function, function.split(".")[0] + ".*"):
            if name in self._file["functions"]:
                callers = self._file["functions"][name]
                return callers == "everybody" or role in callers
        raise LookupError(f"{FILE.name} does not say who may call {function}")

    def may_make_temporary(self, role: str) -> bool:
        return role in self._file["temporary"]

    def stale(self, relations: list[Relation], functions: list[str]) -> Iterator[str]:
        """What the file names and the database has not."""
        here = {relation.name for relation in relations}
        for schema, entry in self._file["relations"].items():
            yield from (name for table in entry["tables"] if (name := f"{schema}.{table}") not in here)
        schemas = {name.split(".")[0] for name in functions}
        for name in self._file["functions"]:
            if name not in functions and not (name.endswith(".*") and name[:-2] in schemas):
                yield name

    def _entry(self, relation: Relation) -> dict[str, list[str]]:
        tables = self._file["relations"].get(relation.schema, {}).get("tables", {})
        if relation.relation not in tables:
            raise LookupError(f"{FILE.name} does not name {relation.name}")
        return tables[relation.relation]

    def _named(self, verb: str, relation: Relation) -> list[str]:
        entry = self._entry(relation)
        readers = self._file["relations"][relation.schema]["readers"]
        return entry.get(verb, readers if verb == "select" else [])


def relations(owner: psycopg.Connection, transformer: str) -> list[Relation]:
    """Every relation that is not PostgreSQL's own; `transformer` is that role's name here."""
    return [Relation(*row[:5], columns=tuple(row[5])) for row in owner.execute(_RELATIONS, (transformer,)).fetchall()]


def functions(owner: psycopg.Connection) -> list[tuple[int, str]]:
    """Every function that is not PostgreSQL's own: oid, and schema and name."""
    return owner.execute(
        """
        select pg_proc.oid, nspname || '.' || proname
        from pg_proc inner join pg_namespace on pronamespace = pg_namespace.oid
        where nspname !~ '^pg_' and nspname <> 'information_schema' order by 2
        """
    ).fetchall()
