"""How many cores and how much memory a search may use, and what a panel needs of it.

What does not fit in memory lies in files while it is fitted, and comes to the same bits.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil

from warehouse import settings
from warehouse.errors import Stop

# of the machine's memory, or of what its container may use, where no setting says how much
SHARE = 0.6
# bytes that a search takes per value of its panel: the grid as float64; the matrix of a fold, measured on 20,000 x 125
# and twice that above 256 bins; and for each fit beside it the fold's rows as float32 and what XGBoost takes while it
# makes a matrix of them. The sum was measured on 300,000 x 125: 17.8
GRID, MATRIX, FOLD = 8.0, 2.5, 7.5
# bytes that a fit takes per row beside these, and where it reads files per value of a part, with a sketch of its bins:
# measured on 200,000 and 400,000 x 8 and on 120,000 x 125, with 2 and 3 classes; twice the latter above 256 bins
ROW, PART = 80.0, 26.0
# up to so many bins each takes one byte in a matrix, and two above
FEW_BINS = 256
# bytes that are kept for the next fits where there is more room than all of them take
KEPT = 2**30
# values that are copied, quantized or predicted at once, where a panel is taken in parts
PART_VALUES = 2**23
# the control groups of this process, man 7 cgroups: "0::/a/b" of version 2, "4:cpu,memory:/a/b" of version 1
_GROUPS, _MOUNT = Path("/proc/self/cgroup"), Path("/sys/fs/cgroup")


@dataclass(frozen=True)
class Load:
    """What a search holds: the values of its panel, and of copies of it that have some of its features alone.

    `is_fine`: a trial may have more than FEW_BINS bins. `rows`: those of the panel.
    """

    values: int
    copied: int = 0
    is_fine: bool = False
    rows: int = 0

    @property
    def grids(self) -> float:
        """Bytes of the panel and of the copies."""
        return GRID * (self.values + self.copied)

    @property
    def matrix(self) -> float:
        """Bytes of the matrix of a fold."""
        return MATRIX * self.values * (2 if self.is_fine else 1)

    @property
    def fit(self) -> float:
        """Bytes of each fit beside these: a matrix that it makes is among them."""
        return FOLD * self.values + self.matrix - MATRIX * self.values + ROW * self.rows

    @property
    def needed(self) -> int:
        """Bytes of memory that one fit takes with all that it stands on."""
        return int(self.grids + self.matrix + self.fit)

    @property
    def least(self) -> int:
        """Bytes of memory that one fit takes at least, of files: no less than in memory where a part is the whole."""
        part = PART * (2 if self.is_fine else 1) * min(self.values, PART_VALUES)
        return min(self.needed, int(part + ROW * self.rows))


@dataclass(frozen=True)
class Budget:
    """Threads that fit side by side, and bytes of memory for everything that they hold."""

    threads: int
    memory: int

    @classmethod
    def of_settings(cls, *, threads: int | None = None, memory: int | None = None) -> "Budget":
        """What TRUEBAR_TRAINING_THREADS and TRUEBAR_TRAINING_MEMORY_GB say; else all cores, a share of memory.

        `threads` and `memory` are what somebody else gives this process: threads in place of the cores, and no setting
        makes more of either.
        """
        found = settings.load()
        gigabytes = found.training_memory_gb
        asked = found.training_threads or threads or _cores()
        allowed = int(SHARE * _machine()) if gigabytes is None else int(gigabytes * 1e9)
        return cls(
            asked if threads is None else min(asked, threads), allowed if memory is None else min(allowed, memory)
        )

    def holds(self, load: Load) -> bool:
        """Whether a panel is fitted in memory."""
        return load.needed <= self.memory

    def threads_for(self, load: Load) -> int:
        """How many fits of a panel go on side by side: those that memory holds, and one at least."""
        if not self.holds(load):
            # they would only wait: XGBoost lets one at a time use a matrix that lies in files
            return 1
        return max(1, min(self.threads, int((self.memory - load.grids - load.matrix) // max(load.fit, 1))))

    def room_for_matrices(self, load: Load) -> int:
        """Bytes of matrices that are kept for the next fits: what fits side by side leave, and KEPT at most."""
        return max(0, min(KEPT, int(self.memory - load.grids - self.threads_for(load) * load.fit)))

    def told(self, load: Load) -> str | None:
        """What a person is told of a panel that memory does not hold; None where it does.

        Raises Stop where memory does not hold a fit from files either.
        """
        if self.holds(load):
            return None
        said = f"one trial takes {_size(load.needed)} of memory, and the search may use {_size(self.memory)}"
        if load.least > self.memory:
            files = "" if load.least == load.needed else f", and {_size(load.least)} when it is fitted from files"
            raise Stop(
                f"{said}{files}: raise TRUEBAR_TRAINING_MEMORY_GB, or what this process or worker is given, or take "
                "fewer bars, symbols or features"
            )
        return f"{said}: fitted from files, to the same bits"


def _size(count: int) -> str:
    return f"{count / 1e9:.1f} GB" if count >= 10**8 else f"{count / 1e6:.3g} MB"


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
