"""Run a command that ends when its parent does: python tethered.py PARENT COMMAND …

The kernel sends SIGTERM when the parent ends, by SIGKILL too. Elsewhere than on Linux, the parent's next start ends it.
"""

import ctypes
import os
import signal
import sys

# of linux/prctl.h
PR_SET_PDEATHSIG = 1

if __name__ == "__main__":
    parent, command = int(sys.argv[1]), sys.argv[2:]
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != parent:
        sys.exit(f"tethered: process {parent}, which started this, has ended")
    os.execv(command[0], command)
