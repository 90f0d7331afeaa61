"""The product's commands, forked from a process that has imported what is slow: a start costs no second."""

import importlib
import logging
import multiprocessing
import os
import signal
import sys
from multiprocessing.process import BaseProcess
from pathlib import Path

_FORKS = multiprocessing.get_context("forkserver")
_FORKS.set_forkserver_preload(["loaders.__main__", "loaders.vendors.binance"])


def start(
    module: str,
    *arguments: str,
    output: Path | None = None,
    log_level: int | None = None,
    constants: dict[str, object] | None = None,
    **environment: str,
) -> BaseProcess:
    """`python -m MODULE ARGUMENTS` in a process of its own, whose exitcode is the command's.

    What it prints is appended to `output`, and with a log_level so is what any library logs. Constants are other
    values for the product's, by dotted name: what takes hours in the field has to happen in a second.
    """
    process = _FORKS.Process(
        target=_run, args=(module, arguments, output, log_level, constants or {}, {**os.environ, **environment})
    )
    process.start()
    return process


def _run(
    module: str,
    arguments: tuple[str, ...],
    output: Path | None,
    log_level: int | None,
    constants: dict[str, object],
    environment: dict[str, str],
) -> None:
    os.environ.clear()
    os.environ.update(environment)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    if output:
        with output.open("ab") as file:
            os.dup2(file.fileno(), 1)
            os.dup2(file.fileno(), 2)
    if log_level is not None:
        logging.basicConfig(level=log_level)
    for name, value in constants.items():
        holder, _, constant = name.rpartition(".")
        setattr(importlib.import_module(holder), constant, value)
    sys.exit(importlib.import_module(f"{module}.__main__").main(list(arguments)))
