"""A command under another name: `truebar paper` is `python -m flows paper-trade`, and its help says `truebar paper`."""

import argparse
from collections.abc import Sequence


def name_command(parser: argparse.ArgumentParser, arguments: Sequence[str] | None, called: str | None) -> None:
    """Let help and errors of the command that `arguments` begin with name it as it was `called`, if it was."""
    if called is None or not arguments:
        return
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction) and arguments[0] in action.choices:
            action.choices[arguments[0]].prog = called
