"""A machine of a test's own: a warehouse that nobody else uses, and the demo as a user runs it."""

import json
import os
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

import psycopg

from warehouse import embedded
from warehouse.connection import connect, endpoint, open_connection
from warehouse.migrate import bring_up

ROOT = Path(__file__).resolve().parent.parent

_DATABASE_VARIABLES = ("DATABASE_URL", "PGHOST", "PGPORT", "PGDATABASE", "PGUSER", "PGPASSWORD", "PGPASSFILE")


@contextmanager
def running_warehouse(state_dir: Path) -> Iterator[Path]:
    """A fresh embedded PostgreSQL with all migrations, which the environment points to until the end of the block."""
    before = dict(os.environ)
    for name in _DATABASE_VARIABLES:
        os.environ.pop(name, None)
    os.environ["TRUEBAR_STATE_DIR"] = str(state_dir)
    os.environ["TRUEBAR_MODELS_DIR"] = str(state_dir / "models")
    try:
        bring_up()
        yield state_dir
    finally:
        embedded.stop(state_dir)
        os.environ.clear()
        os.environ.update(before)


def as_owner() -> psycopg.Connection:
    """The administrator's connection, for what no role of the product may do."""
    where = endpoint()
    return open_connection(where, where.conninfo())


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
        """The sandbox's own record of what really happened."""
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
            with urllib.request.urlopen(f"{url}/sandbox/book", timeout=30) as answer:
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
            " and table_name not in ('live_builds', 'look_ahead_audits', 'reconciliations', 'parity')"
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
