"""A machine of a test's own: a warehouse that nobody else uses, and the demo as a user runs it."""

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

import psycopg

from tests import servers
from warehouse import migrate
from warehouse.connection import connect, endpoint, open_connection
from warehouse.locks import exclusive
from warehouse.migrate import bring_up
from warehouse.settings import load, make_state_dir

ROOT = Path(__file__).resolve().parent.parent

# names a folder that all workers of a run share, where the warehouses lie that are copied
TEMPLATES = "TRUEBAR_TESTS_TEMPLATES"

_DATABASE_VARIABLES = ("DATABASE_URL", "PGHOST", "PGPORT", "PGDATABASE", "PGUSER", "PGPASSWORD", "PGPASSFILE")
# these warehouses need not outlive a loss of power; what a server leaves when it is killed stays whole
_SETTINGS = "\nfsync = off\nfull_page_writes = off\n"


@dataclass(frozen=True)
class Kind:
    """What a new warehouse holds: all that the kind below it holds, and what `fill` adds to that."""

    name: str
    below: "Kind | None"
    fill: Callable[[], object]


def _run_dbt(*arguments: str) -> None:
    # imported here, because most tests need no dbt
    from flows.dbt_command import run_dbt

    run_dbt(*arguments)


def _seed() -> None:
    lend_parsed(load().state_dir / "dbt" / "target")
    _run_dbt("seed")


MIGRATED = Kind("migrated", None, bring_up)
SEEDED = Kind("seeded", MIGRATED, _seed)
# every relation, and no bar in any
BUILT = Kind(
    "built",
    SEEDED,
    lambda: _run_dbt("build", "--exclude-resource-type", "test", "--exclude-resource-type", "unit_test"),
)


@contextmanager
def running_warehouse(state_dir: Path, kind: Kind = MIGRATED) -> Iterator[Path]:
    """A PostgreSQL that nobody else uses, which the environment points to until the end of the block.

    Each kind is made once in a run of the tests, by whoever needs it first, and copied from then on.
    """
    with environment_of(state_dir):
        template = _made(kind)
        make_state_dir(state_dir)
        servers.copy(template, state_dir)
        try:
            servers.start(state_dir)
            if (template / "dbt").exists():
                _copy_parsed(template, state_dir / "dbt" / "target")
            yield state_dir
        finally:
            servers.stop(state_dir)


def lend_parsed(target: Path) -> None:
    """Spare a dbt with this target folder and the environment's warehouse to read the whole project."""
    # imported here, because most tests need no dbt
    from tests import parse_cache

    parse_cache.copy(parsed(), parse_cache.HOST_UNSET, target, endpoint().environment("transformer")["PGHOST"])


def parsed() -> Path:
    """The target folder of `dbt parse`, with the manifest: it needs no database, and no variable of the environment.

    It is made once in a run of the tests.
    """
    folder = Path(os.environ[TEMPLATES]) / "parsed"
    with exclusive(folder.with_suffix(".lock"), "reading the dbt project", wait=600):
        if not folder.exists():
            aside = folder.with_suffix(".new")
            environment = {name: value for name, value in os.environ.items() if not name.startswith("PG")}
            subprocess.run(
                [
                    *(str(Path(sys.executable).parent / "dbt"), "parse", "--quiet", "--write-json"),
                    *("--target-path", str(aside), "--log-path", str(aside)),
                ],
                cwd=ROOT / "dbt_project",
                env=environment,
                check=True,
            )
            aside.rename(folder)
    return folder


def _made(kind: Kind) -> Path:
    """The state folder of a kind, its server stopped. Where the migrations are others, it is another."""
    migrations = repr([(migration.name, migration.checksum) for migration in migrate.available()])
    folder = Path(os.environ[TEMPLATES]) / f"{kind.name}-{hashlib.sha256(migrations.encode()).hexdigest()[:8]}"
    with exclusive(folder.with_suffix(".lock"), f"making the tests' {kind.name} warehouse", wait=600):
        if not folder.exists():
            aside = folder.with_suffix(".new")
            shutil.rmtree(aside, ignore_errors=True)
            with running_warehouse(aside, kind.below) if kind.below else _empty_server(aside):
                kind.fill()
            aside.rename(folder)
    return folder


def _copy_parsed(template: Path, target: Path) -> None:
    # imported here, because most tests need no dbt
    from tests import parse_cache

    parse_cache.copy(
        template / "dbt" / "target", servers.host(template), target, endpoint().environment("transformer")["PGHOST"]
    )


@contextmanager
def _empty_server(state_dir: Path) -> Iterator[None]:
    with environment_of(state_dir):
        try:
            make_state_dir(state_dir)
            servers.start(state_dir)
            yield
        finally:
            servers.stop(state_dir)
    if servers.ASKED_FOR:
        return
    with (state_dir / "pg" / "postgresql.conf").open("a") as file:
        file.write(_SETTINGS)


@contextmanager
def environment_of(state_dir: Path) -> Iterator[None]:
    """Let the environment name this state folder and no database until the end of the block, as on a new machine."""
    before = dict(os.environ)
    for name in _DATABASE_VARIABLES:
        os.environ.pop(name, None)
    os.environ["TRUEBAR_STATE_DIR"] = str(state_dir)
    os.environ["TRUEBAR_MODELS_DIR"] = str(state_dir / "models")
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def as_owner(*, past_triggers: bool = False) -> psycopg.Connection:
    """The administrator's connection, for what no role of the product may do; past triggers, for what nobody may."""
    if not past_triggers:
        where = endpoint()
        return open_connection(where, where.conninfo())
    connection = servers.as_superuser()
    connection.execute("set session_replication_role = replica")
    connection.commit()
    return connection


@dataclass(frozen=True)
class Run:
    """One run of the demo as a user starts it: exit status, and what it printed."""

    returncode: int
    output: str


@dataclass(frozen=True)
class Demo:
    """A machine on which the demo was interrupted, run to its end, and run once more."""

    state_dir: Path
    interrupted: Run
    first: Run
    second: Run
    rows_after_first: dict[str, int]
    rows_after_second: dict[str, int]

    @property
    def book(self) -> dict:
        """The sandbox's own record of what really happened at the stock broker."""
        return self._asked("/sandbox/book")

    @property
    def spot(self) -> dict:
        """The sandbox's own record of what really happened in the spot account."""
        return self._asked("/sandbox/spot")

    def _asked(self, path: str) -> dict:
        demo_dir = self.state_dir / "demo"
        command = [
            "-m",
            "sandbox",
            "--tape",
            str(demo_dir / "tape"),
            "--book",
            str(demo_dir / "book.sqlite"),
            "--port",
            "0",
        ]
        process = subprocess.Popen([sys.executable, *command], cwd=ROOT, stdout=subprocess.PIPE, text=True)
        try:
            url = process.stdout.readline().split()[3].rstrip(":")
            with urllib.request.urlopen(f"{url}{path}", timeout=30) as answer:
                return json.load(answer, parse_float=Decimal)
        finally:
            process.terminate()
            process.wait(timeout=10)


def count_rows() -> dict[str, int]:
    """Rows of every table and view that a person can query, but for those that say what was run: builds and audits."""
    with connect("analyst") as connection:
        names = connection.execute(
            "select table_schema || '.' || table_name from information_schema.tables"
            " where table_schema in ('raw', 'reference', 'canonical', 'features', 'research', 'ledger', 'results')"
            " and table_name not in ('live_builds', 'live_growths', 'look_ahead_audits', 'feature_audits',"
            " 'data_tests', 'reconciliations', 'parity')"
        ).fetchall()
        return {
            name: connection.execute(f"select count(*) from {name}").fetchone()[0]
            for (name,) in sorted(names)
            if not name.startswith("features.role_probe")
        }


def run_demo(interrupt_at: str | None = None) -> Run:
    process = subprocess.Popen(
        [sys.executable, "-m", "flows.demo"],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        # a terminal sends Ctrl-C to a command and all its children
        start_new_session=True,
        # a shell that runs the tests in the background has Ctrl-C ignored, and children inherit that
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    lines = []
    for line in process.stdout:
        lines.append(line)
        if interrupt_at and interrupt_at in line:
            interrupt_at = None
            os.killpg(process.pid, signal.SIGINT)
    return Run(process.wait(timeout=300), "".join(lines))
