"""Everything of a warehouse in one folder, and an empty database filled from it."""

import json
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

import psycopg
from psycopg import sql
from psycopg.pq import Conninfo

from warehouse import embedded, migrate, roles, sessions, transactions
from warehouse.connection import Endpoint, endpoint, open_connection, uses_embedded
from warehouse.errors import Stop
from warehouse.logs import first_error
from warehouse.rows import scalar
from warehouse.settings import load, make_state_dir
from warehouse.versions import available

_FACTS, _DUMP, _MODELS = "backup.json", "warehouse.dump", "models"
_SECONDS_BETWEEN_WORDS = 2.0

Say = Callable[[str], None]

# what pg_dump leaves out, because it belongs to the database and not to what is in it; as in the first migration
_DATABASE_RIGHTS = """
do $$
begin
    execute format('revoke temporary on database %I from public', current_database());
    execute format('grant temporary on database %I to {loader}, {transformer}', current_database());
end $$
"""


@dataclass(frozen=True)
class Facts:
    """What a backup says of itself: its moment (UTC), the server that it was taken from, and its last transaction."""

    taken_at: str
    postgres: int
    administrator: str
    role_prefix: str
    migration: int
    last_transaction: int


def backup(folder: Path | None = None, *, keep: int | None = None, say: Say = print) -> Path:
    """Write a backup named after the moment into a folder (default: `backups` in the state folder); returns its path.

    The database is read as of one moment, while others go on. Model packages are copied beside it. With `keep`, older
    backups in the folder are removed once this one is whole. Raises Stop when pg_dump fails; nothing half is left.
    """
    settings = load()
    where = endpoint(settings)
    folder = folder or settings.state_dir / "backups"
    make_state_dir(folder)
    now = datetime.now(UTC)
    done = folder / f"{now:%Y-%m-%dT%H%M%SZ}"
    aside = folder / f".{done.name}.{os.getpid()}"
    aside.mkdir(mode=0o700)
    try:
        with open_connection(where, where.conninfo(), autocommit=True) as connection:
            newest = connection.execute("select max(version) from warehouse.migrations").fetchone()
            _run("pg_dump", ["--format=custom", f"--file={aside / _DUMP}"], where, aside / _DUMP, say)
            facts = Facts(
                taken_at=now.isoformat(timespec="seconds"),
                postgres=connection.info.server_version // 10000,
                administrator=connection.info.user,
                role_prefix=where.role_prefix,
                migration=newest[0] if newest else 0,
                # asked after the dump: no row in it can hold a higher one
                last_transaction=transactions.upcoming(connection),
            )
        if settings.models_dir.is_dir():
            shutil.copytree(settings.models_dir, aside / _MODELS)
        # the facts come last: a folder without them is no backup
        (aside / _FACTS).write_text(json.dumps(asdict(facts), indent=2) + "\n")
        aside.rename(done)
    except psycopg.errors.UndefinedTable:
        raise Stop(f"there is no warehouse at {where.place} to back up: run `python -m warehouse up`") from None
    except OSError as error:
        raise Stop(f"the backup {done} cannot be written: {error.strerror}") from None
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    if keep is not None:
        for older in _backups(folder)[:-keep]:
            shutil.rmtree(older)
    return done


def restore(source: Path, *, say: Say = print) -> list[str]:
    """Fill an empty database from a backup, or from the newest backup in a folder; returns what was left alone.

    The embedded server is started when no other one is configured. Model packages come back unless one of that name is
    there. Raises Stop, before anything has changed, for a folder that is no backup and a database that is not empty.
    """
    chosen = _chosen(source)
    facts = _facts(chosen)
    settings = load()
    if uses_embedded(settings):
        embedded.start(settings.state_dir)
    where = endpoint(settings)
    migrate.create_database(where)
    with open_connection(where, where.conninfo(), autocommit=True) as connection:
        _check(connection, where, facts, chosen)
        roles.prepare(connection, where, is_new=True)
        try:
            _run("pg_restore", ["--exit-on-error", "--single-transaction", str(chosen / _DUMP)], where, None, say)
        except Stop as error:
            raise Stop(f"{error}; the database is as empty as before") from None
        names = {role: sql.Identifier(where.role_name(role)) for role in ("loader", "transformer")}
        connection.execute(sql.SQL(_DATABASE_RIGHTS).format(**names))
        transactions.take(connection, facts.last_transaction, say)
        connection.execute("analyze")
    migrate.migrate(where)
    return _bring_models(chosen / _MODELS, settings.models_dir)


def _check(connection: psycopg.Connection, where: Endpoint, facts: Facts, chosen: Path) -> None:
    if scalar(connection.execute("select to_regclass('warehouse.migrations')")) is not None:
        raise Stop(
            f"the database at {where.place} holds a warehouse already: restore into an empty one "
            "(another TRUEBAR_STATE_DIR, or another database)"
        )
    here = {"administrator": connection.info.user, "role_prefix": where.role_prefix}
    for name, words in (("administrator", "the administrator"), ("role_prefix", "TRUEBAR_ROLE_PREFIX")):
        there = getattr(facts, name)
        if here[name] != there:
            raise Stop(
                f"{chosen} was taken where {words} was {there or 'not set'!r}, and here it is "
                f"{here[name] or 'not set'!r}: what it holds belongs to the former"
            )
    if facts.postgres > connection.info.server_version // 10000:
        raise Stop(f"{chosen} was taken from PostgreSQL {facts.postgres}: restore into that version or a newer one")
    newest = available()[-1].version
    if facts.migration > newest:
        raise Stop(
            f"{chosen} was taken by newer code: it has migration {facts.migration:04d}, which is not here. "
            "Update the checkout (`git pull`)"
        )


def _chosen(source: Path) -> Path:
    if (source / _FACTS).is_file():
        return source
    if found := _backups(source):
        return found[-1]
    raise Stop(f"{source} is no backup, and holds none: `python -m warehouse backup` makes one")


def _backups(folder: Path) -> list[Path]:
    """Whole backups in a folder, oldest first: their names are their moments."""
    return sorted(path.parent for path in folder.glob(f"[0-9]*/{_FACTS}"))


def _facts(chosen: Path) -> Facts:
    try:
        return Facts(**json.loads((chosen / _FACTS).read_text()))
    except (OSError, ValueError, TypeError):
        raise Stop(f"{chosen / _FACTS} cannot be read: take another backup") from None


def _bring_models(source: Path, folder: Path) -> list[str]:
    """Copy packages that are not there yet; returns the names of those that are, and were left alone."""
    left = []
    for package in sorted(source.iterdir()) if source.is_dir() else []:
        if (folder / package.name).exists():
            left.append(package.name)
        elif package.is_dir():
            shutil.copytree(package, folder / package.name)
        else:
            folder.mkdir(parents=True, exist_ok=True)
            shutil.copy2(package, folder / package.name)
    return left


def _run(program: str, arguments: list[str], where: Endpoint, growing: Path | None, say: Say) -> None:
    """Run a program of PostgreSQL as the administrator, telling every few seconds that it goes on."""
    command = [str(embedded.BIN_DIR / program), "--no-password", *arguments]
    if program == "pg_restore":
        command.append(f"--dbname={where.parameters['dbname']}")
    started = told = time.monotonic()
    process = subprocess.Popen(
        command, env=_libpq(where), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, cwd="/"
    )
    try:
        while True:
            try:
                _, said = process.communicate(timeout=0.2)
                break
            except subprocess.TimeoutExpired:
                if time.monotonic() - told > _SECONDS_BETWEEN_WORDS:
                    told = time.monotonic()
                    size = f", {growing.stat().st_size / 1e6:,.0f} MB" if growing and growing.exists() else ""
                    say(f"{program}: {told - started:.0f} s{size}")
    except BaseException:  # Ctrl-C too: its one transaction goes back
        process.terminate()
        process.wait()
        raise
    if process.returncode != 0:
        raise Stop(f"{program} failed: {first_error(said)}")


def _libpq(where: Endpoint) -> Mapping[str, str]:
    """The administrator's login as environment, which other users of the machine cannot read as they can a command."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PG")}
    names = {option.keyword.decode(): option.envvar.decode() for option in Conninfo.get_defaults() if option.envvar}
    found = {names[key]: value for key, value in where.parameters.items() if key in names}
    login = {"PGUSER": where.admin_user, "PGPASSWORD": where.admin_password, "PGOPTIONS": sessions.options(None)}
    return kept | found | {name: value for name, value in login.items() if value}
