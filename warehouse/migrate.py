"""Numbered SQL files, applied once and in order, each in a transaction of its own.

psycopg sends a file as it is; libraries that split it into statements stumble over dollar-quoted bodies.
"""

import re
import sys

import psycopg
from psycopg import sql

from warehouse import embedded, homes, roles, transactions
from warehouse.connection import Endpoint, endpoint, open_connection, uses_embedded
from warehouse.errors import Stop
from warehouse.sessions import ROLES
from warehouse.settings import load
from warehouse.versions import Migration, available

_LOCK = 7_203_517_001  # one migrator at a time, on any machine

# migrations use these words as role names only; a prefix goes in front of each
_ROLE_NAME = re.compile(r"\b(?:" + "|".join(ROLES) + r")\b")


def bring_up() -> list[str]:
    """Start the embedded server unless another one is configured, migrate, and return the migrations applied."""
    settings = load()
    if uses_embedded(settings):
        embedded.start(settings.state_dir)
    return migrate(endpoint(settings))


def migrate(where: Endpoint | None = None, origin: str | None = None) -> list[str]:
    """Bring the database up to date and return the names applied. Safe to run twice and from two places at once.

    `origin` is the database that it was restored from, as `homes` calls it.

    Raises Stop when an applied file was edited or is not on disk, and when the server is too old or does not answer.
    """
    where = where or endpoint()
    create_database(where)
    with open_connection(where, where.conninfo(), autocommit=True) as connection:
        connection.execute("select pg_advisory_lock(%s)", (_LOCK,))
        roles.check_rights(connection, where)
        connection.execute("create schema if not exists warehouse")
        connection.execute(
            """
            create table if not exists warehouse.migrations (
            version integer primary key, name text not null, checksum text not null,
            applied_at timestamptz not null default clock_timestamp())
            """
        )
        applied: dict[int, str] = dict(
            connection.execute("select version, checksum from warehouse.migrations").fetchall()
        )
        migrations = available()
        if newer := sorted(set(applied) - {migration.version for migration in migrations}):
            raise Stop(
                f"the database is newer than this code: it has migration {newer[-1]:04d}, which is not here. "
                "Update the checkout (`git pull`)"
            )
        roles.prepare(connection, where, is_new=not applied)
        names = [
            _apply(connection, migration, where) for migration in migrations if not _is_applied(migration, applied)
        ]
        missing = transactions.take(
            connection, transactions.remembered(connection), lambda line: print(line, file=sys.stderr)
        )
        # rows of transactions that this server has yet to come to were written elsewhere
        if homes.settle(connection, where, origin or ("another database" if missing else None)):
            print(f"{homes.MOVED}: every account is halted until a person releases it", file=sys.stderr)
    roles.check_logins(where)
    return names


def _is_applied(migration: Migration, applied: dict[int, str]) -> bool:
    if migration.version not in applied:
        return False
    if applied[migration.version] != migration.checksum:
        raise Stop(f"migration {migration.name} was edited after it was applied: restore it and add a new file instead")
    return True


def _apply(connection: psycopg.Connection, migration: Migration, where: Endpoint) -> str:
    statements = migration.statements
    if where.role_prefix:
        statements = _ROLE_NAME.sub(lambda found: where.role_name(found[0]), statements)
    with connection.transaction():
        connection.execute(statements.encode())
        connection.execute(
            "insert into warehouse.migrations (version, name, checksum) values (%s, %s, %s)",
            (migration.version, migration.name, migration.checksum),
        )
    return migration.name


def create_database(where: Endpoint) -> None:
    """The embedded server starts without a database of ours; anybody else's server has the one that was named."""
    if not where.is_embedded:
        return
    with open_connection(where, where.conninfo(dbname="postgres"), autocommit=True) as connection:
        connection.execute("select pg_advisory_lock(%s)", (_LOCK,))
        name = where.parameters["dbname"]
        if not connection.execute("select 1 from pg_database where datname = %s", (name,)).fetchone():
            connection.execute(sql.SQL("create database {}").format(sql.Identifier(name)))
