"""What work needs of a machine, said before it starts: memory and disk."""

import resource
import shutil
from dataclasses import dataclass
from pathlib import Path

import psutil

from warehouse.errors import Stop

_MEGABYTE = 1_000_000
_CGROUP = Path("/sys/fs/cgroup")


@dataclass(frozen=True)
class Need:
    """Megabytes: memory of all processes together, addresses of the largest one, and disk."""

    memory: int
    addresses: int
    disk: int

    def __str__(self) -> str:
        return f"the demo needs {self.memory:,} and {self.disk:,}"


# rounded up from what bench/needs.py measures
DEMO = Need(memory=3_000, addresses=4_000, disk=500)


def free_memory() -> int:
    """Megabytes that processes can still take, swap included: the machine's, or less where a container has a limit."""
    available = int(psutil.virtual_memory().available) + int(psutil.swap_memory().free)
    for folder in _cgroup_folders():
        limit, used = _number(folder / "memory.max"), _number(folder / "memory.current")
        if limit is not None and used is not None:
            # files that the kernel holds in memory go when room is needed
            available = min(available, max(0, limit - used + _inactive_files(folder)))
    return available // _MEGABYTE


def address_space() -> int | None:
    """Megabytes of addresses that one process may have (`ulimit -v`), None without a limit."""
    soft, _ = resource.getrlimit(resource.RLIMIT_AS)
    return None if soft == resource.RLIM_INFINITY else soft // _MEGABYTE


def free_disk(folder: Path) -> int:
    """Megabytes free where a folder is, or will be made."""
    while not folder.exists():
        folder = folder.parent
    return shutil.disk_usage(folder).free // _MEGABYTE


def check(what: str, need: Need, folder: Path) -> None:
    """Raises Stop when the machine has less than `what` needs; its disk is where `folder` is."""
    if (limit := address_space()) is not None and limit < need.addresses:
        raise Stop(
            f"{what} needs {need.addresses:,} MB of address space per process, and the limit is {limit:,}: "
            "raise it with `ulimit -v unlimited`"
        )
    if (free := free_memory()) < need.memory:
        raise Stop(
            f"{what} needs {need.memory:,} MB of free memory, and this machine has {free:,}: end other programs, "
            "or give it more"
        )
    if (room := free_disk(folder)) < need.disk:
        raise Stop(
            f"{what} needs {need.disk:,} MB of disk below {folder}, and {room:,} are free: free some, "
            "or set TRUEBAR_STATE_DIR to another disk"
        )


def _cgroup_folders() -> list[Path]:
    """This process's control group and those around it, in version 2 of the kernel's interface."""
    try:
        entry = Path("/proc/self/cgroup").read_text().strip().rpartition("::")[2]
    except OSError:
        return []
    folder = _CGROUP / entry.lstrip("/")
    return [one for one in (folder, *folder.parents) if one.is_relative_to(_CGROUP)]


def _number(path: Path) -> int | None:
    """The number in a file, None if there is no such file or it says "max"."""
    try:
        return int(path.read_text())
    except (OSError, ValueError):
        return None


def _inactive_files(folder: Path) -> int:
    try:
        lines = (folder / "memory.stat").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith("inactive_file ")), 0)
