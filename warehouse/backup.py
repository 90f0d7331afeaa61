"""Everything of a warehouse in one folder, and an empty database filled from it."""

import json
import math
import os
import re
import shutil
import subprocess
import tempfile
import threading
import time
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, cast

import psycopg
from psycopg.pq import Conninfo

from warehouse import backups, embedded, homes, migrate, roles, sessions, tethered, transactions
from warehouse.backups import Say
from warehouse.connection import Endpoint, endpoint, open_connection, uses_embedded
from warehouse.errors import Stop
from warehouse.locks import exclusive
from warehouse.logs import first_error
from warehouse.rows import scalar
from warehouse.settings import load, make_state_dir
from warehouse.versions import available

_DUMP, _MODELS = "warehouse.dump", "models"
_TRIES = 3
_SECONDS_BETWEEN_WORDS = 2.0
_RESTORE = str(embedded.BIN_DIR / "pg_restore")

# A build that replaces a history waits for whoever reads it, as a dump does to its end, for minutes and not for hours.
# dbt's session is idle between two statements, for as long as it takes to write the next one, and ends with each node.
# A pooler keeps one for hours, and so does a person who has left a psql open. What cannot be seen of a session counts
# as work.
_BUILDS = """
select count(*)
from pg_stat_activity
where datname = current_database()
    and usename = %s
    and (
        state is distinct from 'idle'
        or (application_name = 'dbt' and state_change > clock_timestamp() - %s * interval '1 second')
    )
"""
_SECONDS_BETWEEN_STATEMENTS = 60
# dbt was without any session for up to two seconds from one node to the next, on a busy machine of two cores
_SECONDS_BETWEEN_NODES = 10.0
_SECONDS_TO_WAIT_FOR_BUILDS = 6 * 3600


def backup(folder: Path | None = None, *, keep: int | None = None, say: Say = print) -> Path:
    """Write a backup named after the moment into a folder (default: `backups` in the state folder); returns its path.

    The database is read as of one moment, while others go on; it waits for dbt to end. Model packages are copied beside
    it. With `keep`, older backups of this database in the folder are removed once this one is whole. Raises Stop when
    pg_dump fails; nothing half is left, and what a killed one left is removed.
    """
    settings = load()
    where = endpoint(settings)
    folder = folder or settings.state_dir / "backups"
    make_state_dir(folder)
    backups.remove_abandoned(folder, say)
    while (done := folder / f"{(now := datetime.now(UTC)):%Y-%m-%dT%H%M%SZ}").exists():
        time.sleep(0.1)  # its name is its second
    aside = folder / f".{done.name}.{os.getpid()}"
    try:
        aside.mkdir(mode=0o700)
        with exclusive(aside / backups.LOCK, "writing this backup", wait=0):
            with open_connection(where, where.conninfo(), autocommit=True) as connection:
                newest = connection.execute("select max(version) from warehouse.migrations").fetchone()
                _wait_for_builds(connection, where.role_name("transformer"), say)
                dump = [
                    str(embedded.BIN_DIR / "pg_dump"),
                    "--no-password",
                    "--format=custom",
                    f"--file={aside / _DUMP}",
                ]
                _follow(_start(dump, where), "pg_dump", aside / _DUMP, say)
                facts = backups.Facts(
                    taken_at=now.isoformat(timespec="seconds"),
                    database=str(scalar(connection.execute(homes.IDENTITY))),
                    postgres=connection.info.server_version // 10000,
                    administrator=connection.info.user,
                    role_prefix=where.role_prefix,
                    migration=newest[0] if newest else 0,
                    # asked after the dump: no row in it can hold a higher one. A server of many databases counts for
                    # all of them, and may be billions further
                    last_transaction=transactions.remembered(connection) or transactions.upcoming(connection),
                    number=backups.next_number(folder, now, say),
                )
            _copy_models(settings.models_dir, aside / _MODELS)
            # the facts come last: a folder without them is no backup
            (aside / backups.FACTS).write_text(json.dumps(asdict(facts), indent=2) + "\n")
            # whoever looks for what was abandoned takes a folder aside without a lock for one
            aside.rename(done)
            (done / backups.LOCK).unlink()
    except psycopg.errors.UndefinedTable:
        raise Stop(f"there is no warehouse at {where.place} to back up: run `python -m warehouse up`") from None
    except OSError as error:
        raise Stop(f"the backup {done} cannot be written: {_reason(error)}") from None
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    if keep is not None:
        backups.prune(backups.Backup(done, facts), keep, say)
    return done


def restore(source: Path, *, say: Say = print) -> list[str]:
    """Fill an empty database from a backup, or from the newest backup in a folder; returns what was left alone.

    The embedded server is started when no other one is configured. Model packages come back unless one of that name is
    there. Every account is halted: the database that was backed up may still trade it. Raises Stop, before anything has
    changed, for a folder that is no backup, or holds those of several databases, and for a database that is not empty.
    """
    chosen, facts = _chosen(source, say)
    settings = load()
    if uses_embedded(settings):
        embedded.start(settings.state_dir)
    where = endpoint(settings)
    migrate.create_database(where)
    with open_connection(where, where.conninfo(), autocommit=True) as connection:
        _check(connection, where, facts, chosen)
        roles.prepare(connection, where, is_new=True)
        roles.check_logins(where)
        left = _bring_models(chosen / _MODELS, settings.models_dir)
        try:
            _fill(chosen / _DUMP, where, connection.info.server_version // 10000, say)
        except Stop as error:
            raise Stop(f"{error}; the database is as empty as before") from None
        transactions.take(connection, facts.last_transaction, say)
        connection.execute("analyze")
    migrate.migrate(where, facts.database)
    with open_connection(where, where.conninfo()) as connection:
        accounts = connection.execute("select account_id from ledger.accounts order by account_id").fetchall()
    for (account,) in accounts:
        say(
            f"account {account} is halted: end whoever trades it from the old database, then `truebar reconcile`, and "
            '`truebar release --reason "…"` lets it trade'
        )
    return left


def _check(connection: psycopg.Connection, where: Endpoint, facts: backups.Facts, chosen: Path) -> None:
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


def _chosen(source: Path, say: Say) -> tuple[Path, backups.Facts]:
    is_one = (source / backups.FACTS).is_file()
    if found := backups.read(source) if is_one else backups.newest(source, say):
        return found.folder, found.facts
    raise Stop(f"{source} is no backup, and holds none: `python -m warehouse backup` makes one")


def _copy_models(source: Path, to: Path) -> None:
    """Copy the packages, and none that is still written aside. One that is renamed meanwhile is looked for again."""
    for left in range(_TRIES - 1, -1, -1):
        if not source.is_dir():
            return
        try:
            shutil.copytree(source, to, ignore=shutil.ignore_patterns(".*"), ignore_dangling_symlinks=True)
            return
        except (shutil.Error, FileNotFoundError):
            if not left:
                raise
            shutil.rmtree(to, ignore_errors=True)
            time.sleep(0.1)


def _bring_models(source: Path, folder: Path) -> list[str]:
    """Copy packages that are not there yet, each whole or not; returns those that are there, and were left alone."""
    left = []
    for package in sorted(source.iterdir()) if source.is_dir() else []:
        if (folder / package.name).exists():
            left.append(package.name)
            continue
        aside = folder / f".{package.name}.{os.getpid()}"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            if package.is_dir():
                shutil.copytree(package, aside)
            else:
                shutil.copy2(package, aside)
            aside.rename(folder / package.name)
        except OSError as error:
            raise Stop(f"the model package {package} cannot be copied to {folder}: {_reason(error)}") from None
        finally:
            shutil.rmtree(aside, ignore_errors=True)
    return left


def _reason(error: OSError) -> str:
    """What the system says; of many files that could not be copied, what it says of the first."""
    if isinstance(error, shutil.Error) and isinstance(error.args[0], list):
        path, _, why = error.args[0][0]
        return f"{path}: {why}"
    return error.strerror or str(error)


def _wait_for_builds(connection: psycopg.Connection, transformer: str, say: Say) -> None:
    deadline, told, seen = time.monotonic() + _SECONDS_TO_WAIT_FOR_BUILDS, -math.inf, -math.inf
    while (now := time.monotonic()) < deadline:
        if scalar(connection.execute(_BUILDS, (transformer, _SECONDS_BETWEEN_STATEMENTS))):
            seen = now
        elif now - seen > _SECONDS_BETWEEN_NODES:
            return
        if now - told > 60:
            told = now
            say("waiting for dbt to end")
        time.sleep(_SECONDS_BETWEEN_WORDS / 2)


def _fill(dump: Path, where: Endpoint, major: int, say: Say) -> None:
    """Run what is in a dump, in one transaction.

    An owner must be allowed to create in the schema before it is given a relation there, so schemas and their rights
    come first; pg_restore by itself grants last, which only a superuser gets away with.
    """
    try:
        listed = subprocess.run([_RESTORE, "--list", str(dump)], capture_output=True, text=True, check=False)
    except OSError as error:
        raise Stop(f"{_RESTORE} cannot be started: {error.strerror}") from None
    if listed.returncode != 0:
        raise Stop(f"pg_restore failed: {first_error(listed.stderr)}")
    entries = [line for line in listed.stdout.splitlines() if not line.startswith(";")]
    schemas = [line for line in entries if re.match(r"\d+; \d+ \d+ (SCHEMA - |ACL - SCHEMA )", line)]
    command = [str(embedded.BIN_DIR / "psql"), "--no-psqlrc", "--quiet", "--no-password"]
    process = _start([*command, "--set=ON_ERROR_STOP=1", "--file=-"], where, stdin=subprocess.PIPE)
    writer = _Writer(cast("IO[bytes]", process.stdin), dump, (schemas, entries), major, where)
    writer.start()
    try:
        _follow(process, "psql", None, say)
    except Stop:
        writer.join()
        if writer.failure is None:
            raise
    writer.join()
    if writer.failure is not None:
        raise Stop(f"the dump {dump} could not be sent to psql: {writer.failure}")
    if not writer.has_committed:
        raise Stop("psql ended before the dump did")


class _Writer(threading.Thread):
    """Sends psql the statements of the first entries, then of the others, the halts, what the roles may do in the
    database, and a commit when all were sent.

    psql takes the end of what it is sent for the end of its work. Without the commit nothing of it stays.
    """

    def __init__(
        self, statements: IO[bytes], dump: Path, parts: tuple[list[str], list[str]], major: int, where: Endpoint
    ) -> None:
        super().__init__()
        self.failure: BaseException | None = None
        self.has_committed = False
        self._statements, self._dump, self._parts, self._major = statements, dump, parts, major
        self._last = f"{homes.HALT}{homes.database_rights(where)}commit;\n"

    def run(self) -> None:
        first, every = self._parts
        rest = set(every) - set(first)
        try:
            with self._statements as statements:
                statements.write(b"begin;\n")
                for chosen in (first, [entry for entry in every if entry in rest]):
                    self._send(chosen, statements)
                statements.write(self._last.encode())
            self.has_committed = True
        except BrokenPipeError:
            return  # psql says itself why it has ended
        except BaseException as error:  # noqa: BLE001 (whatever ends this thread has to reach the one that waits)
            self.failure = error

    def _send(self, chosen: list[str], statements: IO[bytes]) -> None:
        with tempfile.NamedTemporaryFile("w", suffix=".list") as file:
            file.write("\n".join(chosen) + "\n")
            file.flush()
            command = [_RESTORE, f"--use-list={file.name}", "--file=-", str(self._dump)]
            with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as reading:
                script = cast("IO[bytes]", reading.stdout)
                for line in script:
                    # of servers from 17 on
                    if self._major >= 17 or not line.startswith(b"SET transaction_timeout"):
                        statements.write(line)
                    if line.startswith((b"COPY ", b"CREATE ")):
                        break
                shutil.copyfileobj(script, statements)
            if reading.returncode:
                raise Stop("it is damaged")


def _start(command: list[str], where: Endpoint, *, stdin: int | None = None) -> "subprocess.Popen[bytes]":
    """Start a program of PostgreSQL as the administrator; it ends with this process. A login is in no command line."""
    names = {option.keyword.decode(): option.envvar.decode() for option in Conninfo.get_defaults() if option.envvar}
    found = {names[key]: value for key, value in where.parameters.items() if key in names}
    login = {"PGUSER": where.admin_user, "PGPASSWORD": where.admin_password, "PGOPTIONS": sessions.options(None)}
    environment = dict(os.environ) | found | {name: value for name, value in login.items() if value}
    return subprocess.Popen(
        tethered.command(command),
        stdin=stdin,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        cwd="/",
        env=environment,
    )


def _follow(process: "subprocess.Popen[bytes]", program: str, growing: Path | None, say: Say) -> None:
    """Wait until a program ends, telling every few seconds that it goes on. Raises Stop with its own words."""
    started = told = time.monotonic()
    words: list[bytes] = []
    said = cast("IO[bytes]", process.stderr)
    reader = threading.Thread(target=lambda: words.append(said.read()))
    reader.start()
    try:
        while process.poll() is None:
            time.sleep(0.1)
            if time.monotonic() - told > _SECONDS_BETWEEN_WORDS:
                told = time.monotonic()
                size = f", {growing.stat().st_size / 1e6:,.0f} MB" if growing and growing.exists() else ""
                say(f"{program}: {told - started:.0f} s{size}")
    except BaseException:  # Ctrl-C too: its one transaction goes back
        process.terminate()
        process.wait()
        raise
    reader.join()
    if process.returncode != 0:
        raise Stop(f"{program} failed: {first_error(words[0].decode(errors='replace'))}")
