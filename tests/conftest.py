"""Fixtures that stand for real things: a real PostgreSQL, migrated, private to one test session."""

import gc
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from tests.machine import ROOT, SEEDED, TEMPLATES, Demo, count_rows, run_demo, running_warehouse
from warehouse import embedded

# images of containers forbid Python to keep what it has compiled: then each of hundreds of processes compiles it anew
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False
# dbt makes a million objects and no garbage: looking for some takes a third of its time
gc.set_threshold(100_000, 50, 50)
# seconds of each run of dbt, for files that nobody reads; who does sets it
os.environ["DBT_WRITE_JSON"] = "false"
os.environ["DBT_LOG_LEVEL_FILE"] = "warn"

# in `make check` a property is tried on a quarter of the examples of `make test`
settings.register_profile("quick", max_examples=25, deadline=None)
if os.environ.get("TRUEBAR_TESTS") == "no-database":
    settings.load_profile("quick")

# a file that runs dbt, or is marked as a whole as one that is long or works in a database
LEFT_OUT = re.compile(
    r"\b(run_dbt|dbtRunner)\b|^pytestmark = .*(mark\.long|mark\.whole|mark\.database|_warehouse)", re.MULTILINE
)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A file's tests stay with one worker, so that a module's set-up is done once.

    The demo, the longest, is first, and folders with long files come before those with short ones: what is begun last
    keeps one worker busy while the others have nothing left.
    """
    items.sort(key=lambda item: ("demo" not in item.fixturenames, _folder(item) not in ("warehouse", "training")))
    for item in items:
        if "demo" in item.fixturenames:
            item.add_marker(pytest.mark.whole)
        if item.get_closest_marker("xdist_group") is None:
            item.add_marker(pytest.mark.xdist_group(str(item.path.relative_to(ROOT))))


def pytest_make_parametrize_id(val: object) -> str | None:
    """A test is named by the beginning of a long value: what failed has to be readable, and to be typed."""
    text = val.decode(errors="replace") if isinstance(val, bytes) else val
    if not isinstance(text, str) or len(text) <= 80:
        return None
    return f"{text[:40].encode('unicode_escape').decode()}~{len(text)}"


def _folder(item: pytest.Item) -> str:
    return item.path.relative_to(ROOT / "tests").parts[0]


def pytest_ignore_collect(collection_path: Path) -> bool | None:
    """In `make check` a file that is left out as a whole is not even read: what it imports takes seconds."""
    if os.environ.get("TRUEBAR_TESTS") != "no-database" or not collection_path.name.startswith("test_"):
        return None
    return True if LEFT_OUT.search(collection_path.read_text()) else None


@pytest.fixture(autouse=True, scope="session")
def _no_database() -> Iterator[None]:
    """In `make check` a test is skipped when it asks for a database: nobody has to mark it."""
    if os.environ.get("TRUEBAR_TESTS") != "no-database":
        yield
        return
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(embedded, "start", lambda state_dir: pytest.skip("needs a database"))
        yield


@pytest.fixture(autouse=True, scope="session")
def _templates(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> None:
    """The workers' own folders lie side by side."""
    base = tmp_path_factory.getbasetemp()
    folder = (base if worker_id == "master" else base.parent) / "templates"
    folder.mkdir(exist_ok=True)
    os.environ[TEMPLATES] = str(folder)


@pytest.fixture(scope="session")
def warehouse_db(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """One migrated PostgreSQL for the session; yields its state folder. Nothing of the user's is touched."""
    with running_warehouse(tmp_path_factory.mktemp("state")) as state_dir:
        yield state_dir


@pytest.fixture
def empty_warehouse(tmp_path: Path) -> Iterator[Path]:
    """A PostgreSQL of one test's own, for tests that need all of it."""
    with running_warehouse(tmp_path / "state") as state_dir:
        yield state_dir


@pytest.fixture
def seeded_by_dbt(tmp_path: Path) -> Iterator[Path]:
    """The same with dbt's seeds."""
    with running_warehouse(tmp_path / "state", SEEDED) as state_dir:
        yield state_dir


@pytest.fixture(scope="session")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    """The demo, killed by Ctrl-C in the middle of paper trading and continued; its database stays up for the tests."""
    with running_warehouse(tmp_path_factory.mktemp("demo")) as state_dir:
        os.environ["PREFECT_HOME"] = str(state_dir / "prefect")
        interrupted = run_demo(interrupt_at="through 2012-10: ")
        first = run_demo()
        rows_after_first = count_rows()
        second = run_demo()
        yield Demo(state_dir, interrupted, first, second, rows_after_first, count_rows())
