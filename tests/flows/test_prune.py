"""What `truebar prune` removes is Prefect's own history of runs, and of that only what ended long ago."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.machine import ROOT
from warehouse.locks import exclusive

# two servers of Prefect
pytestmark = pytest.mark.whole

# another project's: a flow of the same name, and a table
_FOREIGN = """
from prefect import flow
from prefect.artifacts import create_table_artifact

@flow
def one():
    create_table_artifact([{"name": "theirs"}], key="foreign")

one()
"""

# runs with a log and a table each: of commands, one with a run that it called; of a deployment in our pool; one that
# waits; and another project's
_HISTORY = """
import logging, os, subprocess, sys, time
from datetime import UTC, datetime, timedelta
from flows.prefect_server import prefect_server

# as the command does, before Prefect is imported
logging.basicConfig(format="%(message)s", stream=sys.stdout, level=logging.WARNING)
logging.getLogger("truebar").setLevel(logging.INFO)
with prefect_server() as wait_until_ready:
    from prefect import flow, get_run_logger
    from prefect import settings
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.actions import WorkPoolCreate
    from prefect.context import TagsContext
    from prefect.flow_engine import run_flow
    from flows.artifacts import keep_table
    from flows.deployments import POOL
    from flows.prune import prune

    wait_until_ready()

    @flow
    def one(name):
        get_run_logger().critical("a line of %s", name)
        keep_table(name, "words", [{"name": name}])

    @flow
    def calls(name):
        one(name)

    one("first")
    calls("second")
    with get_client(sync_client=True) as client:
        waiting = client.create_flow_run(one, parameters={"name": "later"}, tags=["truebar"])
        # a worker's run has no tag, and neither has what it calls
        client.create_work_pool(WorkPoolCreate(name=POOL, type="process"))
        made = client.create_deployment(client.create_flow(calls), "calls", work_pool_name=POOL)
        deployed = client.create_flow_run_from_deployment(made)
        with TagsContext(current_tags=set()):
            run_flow(calls, flow_run=deployed, parameters={"name": "third"})
        theirs = {
            **{name: text for name, text in os.environ.items() if not name.startswith("PREFECT_")},
            "PREFECT_HOME": os.environ["PREFECT_HOME"],
            "PREFECT_LOGGING_LEVEL": "CRITICAL",
            "PREFECT_API_URL": settings.PREFECT_API_URL.value(),
            "PREFECT_API_AUTH_STRING": settings.PREFECT_API_AUTH_STRING.value(),
        }
        subprocess.run([sys.executable, "-c", FOREIGN], env=theirs, check=True)
        def lines():
            return sorted(line.message.split()[-1] for line in client.read_logs())
        while len(lines()) < 3:
            time.sleep(0.1)
        def left():
            return len(client.read_flow_runs()), sorted(one.key for one in client.read_artifacts()), lines()
        in_a_while = datetime.now(UTC) + timedelta(days=90, seconds=1)
        print(prune(removes=True), left())
        print(prune(removes=False, now=in_a_while), left())
        print(prune(removes=True, now=in_a_while), left())
        print(prune(removes=True, now=in_a_while), left())
"""


def _run(state_dir: Path, *command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *command],
        cwd=ROOT,
        env={**os.environ, "TRUEBAR_STATE_DIR": str(state_dir)},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )


def test_what_ended_long_ago_goes_when_that_is_said(tmp_path: Path) -> None:
    done = _run(tmp_path, "-c", f"FOREIGN = {_FOREIGN!r}\n{_HISTORY}")
    assert done.returncode == 0, done.stderr
    said = [line for line in done.stdout.splitlines() if line]
    kept = "(7, ['first', 'foreign', 'second', 'third'], ['first', 'second', 'third'])"
    gone = "(2, ['foreign'], [])"
    assert [line for line in said if line[0].isdigit() and line.endswith(")")] == [
        f"0 {kept}",
        f"0 {kept}",
        f"3 {gone}",
        f"0 {gone}",
    ]
    whose = "runs of the work pool truebar or with the tag truebar that ended"
    assert f"nothing to remove: of 3 {whose}, none did before" in done.stdout
    assert f"3 of 3 {whose} did so before" in done.stdout
    assert "`truebar prune --yes` removes them" in done.stdout
    assert f"{tmp_path / 'prefect' / 'prefect.db'} has" in done.stdout


def test_two_do_not_prune_at_once_and_bad_input_is_one_sentence(tmp_path: Path) -> None:
    kept = "flows: runs of the last day are kept: name a day or more, up to 36500, not"
    for days in ("0", "800000"):
        done = _run(tmp_path, "-m", "flows", "prune", "--older-than", days)
        assert (done.returncode, done.stderr) == (2, f"{kept} {days}\n")
    with exclusive(tmp_path / "prefect" / "prune.lock", "pruning"):
        done = _run(tmp_path, "-m", "flows", "prune", "--yes")
    assert done.returncode == 2
    assert f"process {os.getpid()} is pruning here" in done.stderr
    assert done.stderr.count("\n") == 1
