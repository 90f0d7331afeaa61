"""How many cores and how much memory a search may use, and what a panel needs of it.

What does not fit in memory lies in files while it is fitted, and comes to the same bits.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil

from warehouse import settings

# of the machine's memory, or of what its container may use, where no setting says how much
SHARE = 0.6
# bytes that a search takes per value of its panel: the grid as float64; the matrix of a fold, measured on 20,000 x 125
# and twice that above 256 bins; and for each fit beside it the fold's rows as float32 and what XGBoost takes while it
# makes a matrix of them. The sum was measured on 300,000 x 125: 17.8
GRID, MATRIX, FOLD = 8.0, 2.5, 7.5
# values that are copied, quantized or predicted at once, where a panel is taken in parts
PART_VALUES = 2**23
# the control groups of this process, man 7 cgroups: "0::/a/b" of version 2, "4:cpu,memory:/a/b" of version 1
_GROUPS, _MOUNT = Path("/proc/self/cgroup"), Path("/sys/fs/cgroup")


@dataclass(frozen=True)
class Budget:
    """Threads that fit side by side, and bytes of memory for everything that they hold."""

    threads: int
    memory: int

    @classmethod
    def of_settings(cls) -> "Budget":
        """What TRUEBAR_TRAINING_THREADS and TRUEBAR_TRAINING_MEMORY_GB say; else all cores, a share of memory."""
        found = settings.load()
        gigabytes = found.training_memory_gb
        return cls(
            found.training_threads or _cores(),
            int(SHARE * _machine()) if gigabytes is None else int(gigabytes * 1e9),
        )

    def holds(self, values: int) -> bool:
        """Whether a panel of so many feature values is fitted in memory."""
        return needed(values) <= self.memory

    def threads_for(self, values: int) -> int:
        """How many fits of a panel go on side by side: those that memory holds, and one at least."""
        if not self.holds(values):
            # they would only wait: XGBoost lets one at a time use a matrix that lies in files
            return 1
        left = self.memory - (GRID + MATRIX) * values
        return max(1, min(self.threads, int(left // max(FOLD * values, 1))))

    def told(self, values: int) -> str | None:
        """What a person is told of a panel that memory does not hold; None where it does."""
        if self.holds(values):
            return None
        return f"panel of {needed(values) / 1e9:.1f} GB exceeds {self.memory / 1e9:.1f} GB: external memory"


def needed(values: int) -> int:
    """Bytes of memory that one fit of a panel of so many feature values takes."""
    return int(values * (GRID + MATRIX + FOLD))


def _cores() -> int:
    """Cores that this process may use, which a container or a batch system may have made fewer."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _machine() -> int:
    """Bytes of this machine's memory, or of the lowest limit of a control group that this process is in."""
    limits = [psutil.virtual_memory().total]
    for path in _limits():
        if path.is_file() and (text := path.read_text().strip()).isdecimal():
            limits.append(int(text))
    return min(limits)


def _limits() -> Iterator[Path]:
    """Files that may hold a limit: of the group itself and of all above it, as systemd and Slurm set one.

    In a container the mounted tree may begin at its own group, and the path as the machine sees it is not there.
    """
    if not _GROUPS.is_file():
        return
    for line in _GROUPS.read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        if not controllers:
            root, name = _MOUNT, "memory.max"
        elif "memory" in controllers.split(","):
            root, name = _MOUNT / "memory", "memory.limit_in_bytes"
        else:
            continue
        group = Path(path.lstrip("/"))
        for one in (group, *group.parents):
            yield root / one / name
