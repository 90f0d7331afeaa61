"""Run a command that ends when its parent does: python tethered.py PARENT COMMAND …

The kernel sends SIGTERM when the parent ends, by SIGKILL too. Elsewhere than on Linux, the parent's next start ends it.
"""

import argparse
import ctypes
import os
import signal
import sys
from collections.abc import Sequence

# of linux/prctl.h
PR_SET_PDEATHSIG = 1


def command(command: Sequence[str]) -> list[str]:
    """A command that ends when this process does."""
    return [sys.executable, "-P", __file__, str(os.getpid()), *command]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        prog="python -m warehouse.tethered", description="Run a command that ends when its parent does."
    )
    parser.add_argument("parent", type=int, help="process id of whoever starts this")
    parser.add_argument("command", nargs=argparse.REMAINDER, help="program and its arguments")
    options = parser.parse_args()
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != options.parent:
        sys.exit(f"tethered: process {options.parent}, which started this, has ended")
    os.execv(options.command[0], options.command)
