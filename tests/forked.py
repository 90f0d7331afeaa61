"""The product's commands, forked from a process that has imported what is slow: a start costs no second."""

import gc
import importlib
import logging
import multiprocessing
import os
import signal
import sys
from dataclasses import dataclass
from multiprocessing.process import BaseProcess
from pathlib import Path

from warehouse.connection import endpoint

# a file in dbt's target folder
_SAID = "said.txt"

_FORKS = multiprocessing.get_context("forkserver")
_FORKS.set_forkserver_preload(
    ["loaders.__main__", "loaders.vendors.binance", "dbt.cli.main", "dbt.adapters.postgres.impl"]
)


def start(
    module: str,
    *arguments: str,
    output: Path | None = None,
    folder: Path | None = None,
    log_level: int | None = None,
    constants: dict[str, object] | None = None,
    **environment: str,
) -> BaseProcess:
    """`python -m MODULE ARGUMENTS`, or dbt's own command, in a process of its own, whose exitcode is the command's.

    It runs in `folder`. What it prints is appended to `output`, and with a log_level so is what any library logs.
    Constants are other values for the product's, by dotted name: what takes hours in the field has to happen in a
    second.
    """
    process = _FORKS.Process(
        target=_run,
        args=(module, arguments, output, folder, log_level, constants or {}, {**os.environ, **environment}),
    )
    process.start()
    return process


@dataclass(frozen=True)
class Done:
    """How a command ended: its exit status, and all that it printed."""

    returncode: int
    printed: str


def run_dbt(folder: Path, target: Path, *arguments: str) -> Done:
    """`dbt ARGUMENTS` in a project's folder, as the transformer of the environment's warehouse."""
    return ended(start_dbt(folder, target, *arguments), target)


def start_dbt(folder: Path, target: Path, *arguments: str) -> BaseProcess:
    """The same, while it runs; what it prints lies in the target folder until `ended`."""
    said = target / _SAID
    said.unlink(missing_ok=True)
    places = ("--project-dir", str(folder), "--profiles-dir", str(folder), "--target-path", str(target))
    return start(
        "dbt", *arguments, *places, "--log-path", str(target),
        output=said, folder=folder, **endpoint().environment("transformer"),
    )  # fmt: skip


def ended(process: BaseProcess, target: Path) -> Done:
    """What became of `start_dbt`. Raises TimeoutError after five minutes."""
    process.join(timeout=300)
    if process.exitcode is None:
        process.kill()
        raise TimeoutError((target / _SAID).read_text())
    return Done(process.exitcode, (target / _SAID).read_text())


def _run(
    module: str,
    arguments: tuple[str, ...],
    output: Path | None,
    folder: Path | None,
    log_level: int | None,
    constants: dict[str, object],
    environment: dict[str, str],
) -> None:
    os.environ.clear()
    os.environ.update(environment)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    if folder:
        os.chdir(folder)
    if output:
        with output.open("ab") as file:
            os.dup2(file.fileno(), 1)
            os.dup2(file.fileno(), 2)
    if log_level is not None:
        logging.basicConfig(level=log_level)
    for name, value in constants.items():
        holder, _, constant = name.rpartition(".")
        setattr(importlib.import_module(holder), constant, value)
    if module == "dbt":
        # dbt makes a million objects and no garbage
        gc.disable()
        importlib.import_module("dbt.cli.main").cli(list(arguments))
    sys.exit(importlib.import_module(f"{module}.__main__").main(list(arguments)))
