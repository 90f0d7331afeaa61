"""Every query that a page offers runs as it stands, for the analyst whom the page tells to run it."""

import re
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from flows.summary import MORE, SECTIONS
from tests.machine import BUILT, ROOT, running_warehouse
from warehouse.connection import connect

PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
# a feature that the reader of the README has just added
NOT_YET = "roc_15"


def examples() -> Iterator[tuple[str, str]]:
    """(page, statement) of the blocks of SQL, of what is given to psql, and of what stands in a sentence."""
    for page in PAGES:
        text = page.read_text()
        found = [line for block in re.findall(r"```sql\n(.*?)```", text, re.DOTALL) for line in block.split(";")]
        found += re.findall(r'psql -c "([^"]+)"', text)
        found += re.findall(r"`((?:select|set) [^`]+)`", text)
        for statement in found:
            bare = re.sub(r"--.*", "", statement).strip()
            # a place to fill in, or a name without its value, is no query yet
            is_whole = not re.search("…|<[a-z]", bare) and (not bare.startswith("set ") or "=" in bare)
            if re.match(r"(select|set|with)\b", bare) and is_whole:
                yield page.name, bare.replace(NOT_YET, "roc_10")
    yield from (("the demo's end", sql) for _, sql in MORE)
    yield from (("the demo's end", section.sql) for section in SECTIONS)


@pytest.fixture(scope="module")
def warehouse(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with running_warehouse(tmp_path_factory.mktemp("examples") / "state", BUILT) as state_dir:
        yield state_dir


def test_every_example_runs(warehouse: Path) -> None:
    offered = list(examples())
    assert len([page for page, _ in offered if page == "README.md"]) > 14
    wrong = []
    for page, statement in offered:
        with connect("analyst") as connection:
            try:
                connection.execute(statement.encode())
            except psycopg.Error as error:
                wrong.append(f"{page}: {statement}: {error}")
    assert wrong == []
