"""`truebar serve` on an empty machine: the deployments one after another, started at its server's API.

Once nothing happens to it. Once worker, server and database are killed in turn, and what a kill ended is run again:
what is there in the end is the same. Half an hour, so by hand, with -m slow -s.
"""

import json
import os
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest

from flows.demo import KEYS, TRAINED_THROUGH
from tests.flows.serving import Service, serving, until
from tests.machine import ROOT, environment_of
from warehouse import embedded
from warehouse.connection import connect
from warehouse.errors import OperatorError
from warehouse.refusals import in_words

pytestmark = pytest.mark.slow

_HISTORY = "2000-01-01"
_ENDED = ("COMPLETED", "FAILED", "CRASHED", "CANCELLED")
_MOST_TRIES = 4

# Everything that the chain leaves, without the moments at which it was written.
_OUTCOME = {
    "raw": "select count(*)::text from raw.polygon_aggregates",
    "bars": """
        select md5(string_agg(to_jsonb(bars)::text, ';' order by symbol, bar_start))
        from (
            select symbol, bar_start, open, high, low, close, volume, source, revision from canonical.ohlcv_1d
        ) as bars
    """,
    "features": """
        select md5(string_agg((to_jsonb(rows) - 'landed_at')::text, ';' order by symbol, bar_start))
        from features.features_1d as rows
    """,
    "trials": """
        select string_agg(to_jsonb(trials)::text, ';' order by experiment_id, trial_no)
        from (
            select experiment_id, trial_no, verdict, net_sharpe, failed_checks from results.leaderboard
        ) as trials
    """,
    "looks": "select string_agg(look_no || ' ' || trials, ';' order by look_no) from research.gate_looks",
    "states": """
        select string_agg(model_id || ' ' || state, ';' order by model_id, entered_at) from research.model_states
    """,
    "decisions": """
        select md5(string_agg(to_jsonb(decisions)::text, ';' order by symbol, bar_start))
        from (
            select model_id, symbol, bar_start, score, target_weight, feature_values from ledger.decisions
        ) as decisions
    """,
    "orders": """
        select string_agg(to_jsonb(orders)::text, ';' order by asked_on, symbol)
        from (
            select asked_at::date as asked_on, symbol, side, quantity, filled_quantity, average_price, status
            from ledger.orders
        ) as orders
    """,
    "halts": "select count(*)::text from ledger.halts",
    "parity": "select count(*)::text from results.parity where verdict <> 'identical'",
}


class Machine:
    """A database, a market that stands still until it is stepped, and a service."""

    def __init__(self, state_dir: Path, market: str, service: Service) -> None:
        self.state_dir, self.market, self.service = state_dir, market, service

    def complete(self, name: str, *kills: Callable[["Machine", str], None], **parameters: object) -> None:
        """Run a deployment, and again until it completes; each kill strikes one of its runs."""
        waiting, started = list(kills), time.monotonic()
        for number in range(1, _MOST_TRIES + 1):
            run = self.service.run(name, **parameters)
            if waiting:
                until(lambda run=run: self.service.state(run) == "RUNNING" and self.service.pid_of(run) > 0)
                waiting.pop(0)(self, run)
            until(lambda run=run: self.service.state(run) in _ENDED, self.service.process, seconds=900)
            state = self.service.state(run)
            print(f"{name}, run {number}: {state} after {time.monotonic() - started:.0f} s", flush=True)
            if state == "COMPLETED" and not waiting:
                return
            assert kills, f"{name} ended {state} though nothing happened to it"
        raise AssertionError(f"{name} did not complete")

    def outcome(self) -> dict[str, Any]:
        with connect("analyst") as connection:
            found = {name: connection.execute(query).fetchone()[0] for name, query in _OUTCOME.items()}
        with urllib.request.urlopen(f"{self.market}/sandbox/book", timeout=30) as answer:
            book = json.load(answer)
        held = [(one["symbol"], one["qty"]) for one in book["positions"]]
        return {**found, "held at the broker": held, "orders at the broker": len(book["orders"])}


def kill_worker(machine: Machine, run: str) -> None:
    """The worker and the process of its run, as a machine ends that loses its power."""
    time.sleep(5)
    own = psutil.Process(machine.service.pid_of(run))
    for process in (machine.service.part("worker"), *own.children(recursive=True), own):
        process.kill()
    print(f"  killed the worker and run {run}", flush=True)


def kill_server(machine: Machine, run: str) -> None:
    time.sleep(3)
    machine.service.part("server").kill()
    print(f"  killed the server during run {run}", flush=True)


def kill_database(machine: Machine, run: str) -> None:
    """Its processes end with the first of them; whoever keeps it up starts it again."""
    time.sleep(5)
    lines = (embedded.data_dir(machine.state_dir) / "postmaster.pid").read_text().splitlines()
    psutil.Process(int(lines[0])).kill()
    print(f"  killed the database during run {run}", flush=True)
    time.sleep(1)
    truebar("up")


def kill_worker_in_the_market(machine: Machine, run: str) -> None:
    until(lambda: decided() >= 10)
    kill_worker(machine, run)


def kill_database_in_the_market(machine: Machine, run: str) -> None:
    before = decided()
    until(lambda: decided() >= before + 3)
    kill_database(machine, run)


def decided() -> int:
    try:
        with in_words(), connect("analyst") as connection:
            return int(connection.execute("select count(*) from ledger.decisions").fetchone()[0])
    except OperatorError:
        return 0


def truebar(*words: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "flows.truebar", *words], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


@contextmanager
def market(folder: Path) -> Iterator[str]:
    """The demo's tape, played on this machine; yields its address, to which the environment leads."""
    tape = folder / "tape"
    subprocess.run([sys.executable, "-m", "sandbox", "make-tape", str(tape)], cwd=ROOT, check=True, capture_output=True)
    command = [sys.executable, "-m", "sandbox", "--tape", str(tape), "--port", "0", "--clock", TRAINED_THROUGH]
    process = subprocess.Popen(command, cwd=ROOT, env={**os.environ, **KEYS}, stdout=subprocess.PIPE, text=True)
    try:
        url = process.stdout.readline().split()[3].rstrip(":")
        os.environ.update(
            POLYGON_API_KEY=KEYS["SANDBOX_POLYGON_KEY"],
            POLYGON_BASE_URL=url,
            APCA_API_KEY_ID=KEYS["SANDBOX_ALPACA_KEY_ID"],
            APCA_API_SECRET_KEY=KEYS["SANDBOX_ALPACA_SECRET"],
            APCA_API_BASE_URL=url,
            APCA_API_STREAM_URL=f"{url.replace('http', 'ws', 1)}/stream",
        )
        yield url
    finally:
        process.terminate()
        process.wait(timeout=30)


def lived_through(folder: Path, *, is_killed: bool) -> dict[str, Any]:
    """All deployments of a first day, on a machine that had nothing; what is there afterwards."""
    state_dir = folder / "state"
    with environment_of(state_dir), market(folder) as url:
        truebar("up")
        try:
            with serving(state_dir) as service:
                machine = Machine(state_dir, url, service)

                def strikes(*kills: Callable[[Machine, str], None]) -> tuple[Callable[[Machine, str], None], ...]:
                    return kills if is_killed else ()

                machine.complete("ingest", *strikes(kill_server), history_start=_HISTORY)
                machine.complete("build", *strikes(kill_worker, kill_database))
                experiment = str(ROOT / "experiments" / "planted_edge.yaml")
                machine.complete("train", *strikes(kill_database, kill_server), experiments=[experiment])
                machine.complete("shadow")
                machine.complete(
                    "paper-trade",
                    *strikes(kill_worker_in_the_market, kill_database_in_the_market, kill_server),
                    stepped_clock=f"{url}/sandbox/clock",
                    through="2012-12-14",
                    history_start=_HISTORY,
                )
                machine.complete("reconcile")
                machine.complete("build")
                machine.complete("report")
                assert (state_dir / "report" / "index.html").stat().st_size < 1_000_000
                return machine.outcome()
        finally:
            truebar("down")


def test_the_deployments_complete_and_kills_change_nothing(tmp_path: Path) -> None:
    calm = lived_through(tmp_path / "calm", is_killed=False)
    assert None not in calm.values()
    assert calm["parity"] == "0"
    assert calm["halts"] == "0"
    assert "planted_edge" in calm["states"]
    assert calm["orders at the broker"] > 10
    assert lived_through(tmp_path / "killed", is_killed=True) == calm
