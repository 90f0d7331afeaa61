"""python -m tests [lint|check|whole|coverage]: everything that must hold, in stages that say how long they took."""

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests import own_server

ROOT = Path(__file__).resolve().parent.parent
BIN = Path(sys.executable).parent


@dataclass(frozen=True)
class Stage:
    """A command that must exit with 0."""

    title: str
    command: tuple[str, ...]
    environment: dict[str, str] = field(default_factory=dict)


LINT = (
    Stage("ruff: lint", (str(BIN / "ruff"), "check", ".")),
    Stage("ruff: format", (str(BIN / "ruff"), "format", "--check", ".")),
    Stage("import boundaries", (str(BIN / "lint-imports"), "--no-cache")),
)
TYPES = Stage("types", (sys.executable, "-m", "mypy"), {"PYTHONPATH": str(BIN.parent / "types")})
# reordering would start with the files of many small tests and end with one worker on the longest
PYTEST = (sys.executable, "-m", "pytest", "--dist", "loadgroup", "--no-loadscope-reorder", "--durations", "40")
# two processes, and no file read in both: half of what quick tests cost is the import of what they test
_QUICK = (sys.executable, "-m", "pytest", "-m", "not slow and not whole and not long")
_FIRST = ("tests/execution", "tests/sandbox")
QUICK_TESTS = (
    Stage("quick tests without a database: orders and vendors", (*_QUICK, *_FIRST), {"TRUEBAR_TESTS": "no-database"}),
    Stage(
        "quick tests without a database: all others",
        (*_QUICK, *(f"--ignore={folder}" for folder in _FIRST)),
        {"TRUEBAR_TESTS": "no-database"},
    ),
)
# whatever the caller tested last: a database is there
_WITH_DATABASE = {"TRUEBAR_TESTS": ""}
# each waits for its PostgreSQL as often as it computes: three or four keep two cores busy
COVERAGE = Stage(
    "tests, with the lines that none of them ran",
    (*PYTEST, "-n", "3", "-m", "not slow", "--cov", "--cov-report", "term"),
    _WITH_DATABASE,
)
TESTS = Stage("tests: SQL lint, dbt tests and unit tests included", (*PYTEST, "-n", "4"), _WITH_DATABASE)
WHOLE = Stage("the demo, and whole histories", (*PYTEST, "-n", "3", "-m", "whole and not slow"), _WITH_DATABASE)
# what depends on the version: statements of the loaders, what dbt writes, and what the report asks
OLDEST = Stage(
    "PostgreSQL 15: loaders, dbt and the report",
    (
        *PYTEST,
        "-n",
        "3",
        "--ignore",
        "tests/dbt_project/test_sql_style.py",
        *(f"tests/{folder}" for folder in ("loaders", "dbt_project", "report")),
    ),
    _WITH_DATABASE | {"TRUEBAR_TESTS_POSTGRES": "15"},
)


def main(arguments: list[str] | None = None) -> int:
    """Run all stages, also after one failed; exit status 1 when any did."""
    parser = argparse.ArgumentParser(prog="python -m tests", description="Check everything that must hold.")
    parser.add_argument(
        "what",
        nargs="?",
        choices=("lint", "check", "whole", "coverage"),
        help="lint: style and import boundaries; check: also types and what needs no database; "
        "whole: the demo, whole histories built twice, and some on PostgreSQL 15; "
        "coverage: every test, and which lines none of them ran; default: everything but what whole runs",
    )
    match parser.parse_args(arguments).what:
        case "lint":
            failed = [stage.title for stage in LINT if not _passes(stage)]
        case "check":
            failed = _side_by_side(TYPES, *QUICK_TESTS, *LINT)
        case "whole":
            failed = [stage.title for stage in (WHOLE, *_with_the_oldest()) if not _passes(stage)]
        case "coverage":
            failed = [COVERAGE.title] if not _passes(COVERAGE) else []
        case _:
            with _beside(TYPES, *LINT) as unclean:
                failed = [] if _passes(TESTS) else [TESTS.title]
            failed += unclean
    if failed:
        print(f"\nfailed: {', '.join(failed)}")
    return 1 if failed else 0


def _with_the_oldest() -> Iterator[Stage]:
    """The stage on the oldest PostgreSQL, where Debian's is installed; a run of CI that lacks it fails."""
    if own_server.BINARIES[15].exists() or os.environ.get("CI"):
        yield OLDEST
    else:
        print("\n▸ no PostgreSQL 15 here: nothing is tested on the oldest version", flush=True)


def _passes(stage: Stage) -> bool:
    print(f"\n▸ {stage.title}", flush=True)
    started = time.monotonic()
    done = subprocess.run(stage.command, cwd=ROOT, env={**os.environ, **stage.environment}, check=False)
    print(f"  done in {time.monotonic() - started:.1f} s", flush=True)
    return done.returncode == 0


@contextmanager
def _beside(*stages: Stage) -> Iterator[list[str]]:
    """Run stages one after another while the block runs, and print what they said after it.

    Yields the titles of those that failed by then.
    """
    failed: list[str] = []
    with ThreadPoolExecutor(1) as pool:
        running = [pool.submit(_captured, stage) for stage in stages]
        yield failed
        for stage in running:
            failed += _told(stage.result())


def _side_by_side(*stages: Stage) -> list[str]:
    """Run stages at once, each on what the others leave idle; print what each said when it has ended."""
    print(f"\n▸ {' | '.join(stage.title for stage in stages)}", flush=True)
    with ThreadPoolExecutor(len(stages)) as pool:
        return [title for captured in pool.map(_captured, stages) for title in _told(captured)]


def _captured(stage: Stage) -> tuple[Stage, "subprocess.CompletedProcess[str]", float]:
    """A stage that has ended, and how many seconds it took."""
    started = time.monotonic()
    done = subprocess.run(
        stage.command,
        cwd=ROOT,
        env={**os.environ, **stage.environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    return stage, done, time.monotonic() - started


def _told(captured: tuple[Stage, "subprocess.CompletedProcess[str]", float]) -> list[str]:
    """Print what a stage said; returns its title when it failed."""
    stage, done, seconds = captured
    print(f"\n▸ {stage.title}\n{done.stdout}  done in {seconds:.1f} s", flush=True)
    return [stage.title] if done.returncode else []


if __name__ == "__main__":
    sys.exit(main())
