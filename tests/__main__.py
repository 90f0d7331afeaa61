"""python -m tests [lint]: everything that must hold, in stages that say how long they took."""

import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BIN = Path(sys.executable).parent

LINT = (
    ("ruff: lint", [BIN / "ruff", "check", "."]),
    ("ruff: format", [BIN / "ruff", "format", "--check", "."]),
    ("import boundaries", [BIN / "lint-imports", "--no-cache"]),
)
TESTS = (
    (
        "tests: SQL lint, dbt tests and unit tests included",
        # reordering would start with the files of many small tests and end with one worker on the longest
        [sys.executable, "-m", "pytest", "-n", "2", "--dist", "loadgroup", "--no-loadscope-reorder"],
    ),
)


def main() -> int:
    """Run all stages, also after one failed; exit status 1 when any did."""
    stages = LINT if sys.argv[1:] == ["lint"] else LINT + TESTS
    failed = []
    for title, command in stages:
        print(f"\n▸ {title}", flush=True)
        started = time.monotonic()
        if subprocess.run([str(word) for word in command], cwd=ROOT, check=False).returncode != 0:
            failed.append(title)
        print(f"  done in {time.monotonic() - started:.1f} s", flush=True)
    if failed:
        print(f"\nfailed: {', '.join(failed)}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
