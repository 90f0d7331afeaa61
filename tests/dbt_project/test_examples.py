"""Every query that a page offers runs as it stands, for the analyst whom the page tells to run it."""

import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from flows import dbt_command
from flows.dbt_command import run_dbt
from flows.summary import MORE, SECTIONS
from tests.machine import BUILT, ROOT, running_warehouse
from warehouse.connection import connect
from warehouse.timeframes import TIMEFRAMES

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


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the dbt project, to be edited."""
    project = tmp_path / "dbt_project"
    shutil.copytree(dbt_command.DBT_PROJECT_DIR, project, ignore=shutil.ignore_patterns("target", "logs"))
    monkeypatch.setattr(dbt_command, "DBT_PROJECT_DIR", project)
    return project


def test_the_feature_of_the_readme_works_as_typed(project: Path, warehouse: Path) -> None:
    text = (ROOT / "README.md").read_text()
    told = re.search(
        r"One\s+more is a line in `(?P<macro>.*?)`, before its `(?P<before>.*?)`:\s+```sql\n(?P<line>.*?)```\s+"
        r"and its entry among the columns of `features_1d` in `(?P<models>.*?)`:\s+```yaml\n(?P<entry>.*?)```",
        text,
        re.DOTALL,
    )
    _insert(project.parent / told["macro"], told["before"], told["line"])
    _insert(project.parent / told["models"], "      - name: roc_10\n", told["entry"])
    run_dbt("run", "--select", "features_1d", "catalog", "--full-refresh")
    with connect("analyst") as connection:
        assert connection.execute(f"select {NOT_YET} from features.features_1d limit 1").description is not None
        found = connection.execute(
            "select feature_group, timeframe from features.catalog where feature = %s", (NOT_YET,)
        ).fetchall()
    assert sorted(found) == sorted(("momentum", timeframe) for timeframe in TIMEFRAMES)


def _insert(file: Path, before: str, text: str) -> None:
    """Types lines into a file, before the only place that says so."""
    start, place, rest = file.read_text().partition(before)
    assert place
    assert before not in rest
    file.write_text(start + text + place + rest)


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
