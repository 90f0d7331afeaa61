"""What the demo needs: python -m bench.needs, with nothing else of truebar running.

Runs `python -m flows.demo` in a state folder of its own and looks at it twice a second: the memory of all its processes
together (each shared page counted once: proportional set size), the addresses of the largest of them, and the disk.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil

ROOT = Path(__file__).resolve().parent.parent


def main() -> None:
    argparse.ArgumentParser(prog="python -m bench.needs", description=__doc__.split("\n")[0]).parse_args()
    with tempfile.TemporaryDirectory() as folder:
        environment = {**os.environ, "TRUEBAR_STATE_DIR": folder}
        with (Path(folder) / "printed").open("w") as output:
            demo = subprocess.Popen([sys.executable, "-m", "flows.demo"], cwd=ROOT, env=environment, stdout=output)
        memory = addresses = disk = 0
        while demo.poll() is None:
            found = [size for process in _processes(demo.pid, folder) if (size := _sizes(process))]
            memory = max(memory, sum(used for used, _ in found))
            addresses = max([addresses, *(mapped for _, mapped in found)])
            disk = max(disk, _disk(Path(folder)))
            time.sleep(0.5)
        subprocess.run([sys.executable, "-m", "warehouse", "down"], cwd=ROOT, env=environment, check=True)
        print((Path(folder) / "printed").read_text().splitlines()[-1])
    print(f"memory {memory / 1e6:,.0f} MB, addresses {addresses / 1e6:,.0f} MB, disk {disk / 1e6:,.0f} MB")


def _processes(demo: int, state_dir: str) -> list[psutil.Process]:
    """The demo, its children, and the PostgreSQL that works in its state folder."""
    try:
        found = [psutil.Process(demo), *psutil.Process(demo).children(recursive=True)]
    except psutil.NoSuchProcess:
        return []
    for process in psutil.process_iter():
        try:
            if process.name() == "postgres" and process.cwd().startswith(state_dir):
                found.append(process)
        except psutil.Error:
            continue
    return found


def _sizes(process: psutil.Process) -> tuple[int, int] | None:
    try:
        found = process.memory_full_info()
    except psutil.Error:
        return None
    return found.pss, found.vms


def _disk(folder: Path) -> int:
    total = 0
    for path in folder.rglob("*"):
        try:
            total += path.stat().st_blocks * 512
        except OSError:
            continue
    return total


if __name__ == "__main__":
    main()
