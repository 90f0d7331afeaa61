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


def start(module: str, *arguments: str, debug_log: Path | None = None, **environment: str) -> BaseProcess:
    """`python -m MODULE ARGUMENTS` in a process of its own, whose exitcode is the command's.

    With a debug_log, all that it prints goes there, and so does everything that any library logs.
    """
    process = _FORKS.Process(target=_run, args=(module, arguments, debug_log, {**os.environ, **environment}))
    process.start()
    return process


def _run(module: str, arguments: tuple[str, ...], debug_log: Path | None, environment: dict[str, str]) -> None:
    os.environ.clear()
    os.environ.update(environment)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    if debug_log:
        with debug_log.open("ab") as file:
            os.dup2(file.fileno(), 1)
            os.dup2(file.fileno(), 2)
        logging.basicConfig(level=logging.DEBUG)
    sys.exit(importlib.import_module(f"{module}.__main__").main(list(arguments)))
