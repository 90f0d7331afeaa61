"""The product's commands, forked from a process that has imported what is slow: a start costs no second."""

import gc
import importlib
import logging
import multiprocessing
import os
import runpy
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from multiprocessing.process import BaseProcess
from pathlib import Path

from tests.machine import ROOT
from warehouse.connection import endpoint

# a file in dbt's target folder
_SAID = "said.txt"

_FORKS = multiprocessing.get_context("forkserver")
_FORKS.set_forkserver_preload(
    [
        "warehouse.__main__",
        "loaders.__main__",
        "loaders.vendors.binance",
        "execution.__main__",
        "training.__main__",
        "dbt.cli.main",
        "dbt.adapters.postgres.impl",
    ]
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


def run(
    module: str, *arguments: str, environment: Mapping[str, str], timeout: float = 300
) -> "subprocess.CompletedProcess[str]":
    """`python -m MODULE ARGUMENTS` in the checkout, with this environment alone. Raises TimeoutError."""
    with tempfile.TemporaryDirectory() as folder:
        said = Path(folder, "out"), Path(folder, "errors")
        process = _FORKS.Process(target=_run_module, args=(module, arguments, said, dict(environment)))
        process.start()
        process.join(timeout)
        if process.exitcode is None:
            process.kill()
            raise TimeoutError(f"python -m {module} {' '.join(arguments)}: {said[1].read_text()}")
        return subprocess.CompletedProcess([module, *arguments], process.exitcode, *(file.read_text() for file in said))


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


def _run_module(module: str, arguments: tuple[str, ...], said: tuple[Path, Path], environment: dict[str, str]) -> None:
    os.environ.clear()
    os.environ.update(environment)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.chdir(ROOT)
    for number, path in enumerate(said, start=1):
        with path.open("wb") as file:
            os.dup2(file.fileno(), number)
    sys.argv = [module, *arguments]
    sys.path[:0] = [folder for folder in environment.get("PYTHONPATH", "").split(os.pathsep) if folder]
    # of what was imported and is run now, Python warns
    for name in (f"{module}.__main__", module):
        if not hasattr(sys.modules.get(name), "__path__"):
            sys.modules.pop(name, None)
    runpy.run_module(module, run_name="__main__", alter_sys=True)
