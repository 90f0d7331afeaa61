"""dbt in this process: a warm run takes a second where a new one takes five."""

import gc
import os
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from warehouse.connection import endpoint
from warehouse.errors import Stop
from warehouse.refusals import lock_holders
from warehouse.settings import PROJECT_DIR, load

if TYPE_CHECKING:
    from dbt.cli.main import dbtRunnerResult

DBT_PROJECT_DIR = PROJECT_DIR / "dbt_project"

# dbt keeps state of its own in the process: one invocation at a time
_one_at_a_time = threading.Lock()


@dataclass(frozen=True)
class Node:
    """What became of one seed, model or test."""

    name: str
    kind: str
    status: str
    seconds: float
    message: str


def target_dir() -> Path:
    """Where dbt leaves its files."""
    return load().state_dir / "dbt" / "target"


def run_dbt(*arguments: str, keeps_json: bool = False) -> list[Node]:
    """Run a dbt command as the transformer, e.g. `run_dbt("build", "--select", "features_1d")`.

    With `keeps_json` dbt leaves its artifacts in `target_dir()`.

    Raises Stop that names every node that failed and where dbt's log lies.
    """
    state_dir = load().state_dir
    options = [
        # all of it is in the log; what failed is in the sentence that this raises
        "--log-level",
        "none",
        # dbt's own default, debug, writes seven megabytes for a build; the SQL of each node lies in the target folder
        "--log-level-file",
        os.environ.get("DBT_LOG_LEVEL_FILE", "info"),
        # seconds for files that nobody reads
        "--write-json" if keeps_json else "--no-write-json",
        "--log-path",
        str(state_dir / "dbt" / "logs"),
        *arguments,
        "--project-dir",
        str(DBT_PROJECT_DIR),
        "--profiles-dir",
        str(DBT_PROJECT_DIR),
        "--target-path",
        str(target_dir()),
    ]
    with _one_at_a_time, _environment(endpoint().environment("transformer")), _rare_collections():
        outcome = _invoke(options)
    if outcome.exception is not None and not isinstance(outcome.exception, Exception):
        raise outcome.exception  # Ctrl-C, or Prefect's end of a flow
    if outcome.exception is not None:
        raise Stop(f"dbt {arguments[0]} could not run: {_first_line(str(outcome.exception))}")
    nodes = [
        Node(
            name=result.node.name,
            kind=str(result.node.resource_type),
            status=str(result.status),
            seconds=result.execution_time,
            message=_first_line(result.message or ""),
        )
        for result in getattr(outcome.result, "results", None) or []
        if hasattr(result, "node")
    ]
    if not outcome.success:
        if any("lock timeout" in node.message for node in nodes):
            raise Stop(f"dbt {arguments[0]} waited in vain for a lock{lock_holders()}")
        failed = "; ".join(f"{n.name}: {n.message}" for n in nodes if n.status in ("error", "fail")) or "no node ran"
        raise Stop(f"dbt {arguments[0]} failed: {failed} (log: {state_dir / 'dbt' / 'logs' / 'dbt.log'})")
    return nodes


def _invoke(options: list[str]) -> "dbtRunnerResult":
    # imported here: it takes seconds, and a flow that only looks needs none
    from dbt.cli.main import dbtRunner
    from dbt_common.events.event_manager_client import cleanup_event_logger

    # from its import until it has read its options, dbt would print
    cleanup_event_logger()
    return dbtRunner().invoke(options)


@contextmanager
def _environment(variables: Mapping[str, str]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name)
            else:
                os.environ[name] = value


@contextmanager
def _rare_collections() -> Iterator[None]:
    """dbt makes a million objects and no garbage: looking for some takes a third of its time."""
    before = gc.get_threshold()
    gc.set_threshold(100_000, 50, 50)
    try:
        yield
    finally:
        gc.set_threshold(*before)


def _first_line(text: str) -> str:
    lines = [line.strip() for line in text.strip().splitlines() if line.strip()]
    return " ".join(lines[:3])[:400]
