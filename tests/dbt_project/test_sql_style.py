"""SQL reads alike everywhere: sqlfluff over what dbt's models and tests compile to, and over SQL in Python."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests import forked
from tests.dbt_project import linted_sql
from tests.machine import lend_parsed

pytestmark = pytest.mark.long

ROOT = Path(__file__).resolve().parent.parent.parent
PROJECT = ROOT / "dbt_project"
BIN = Path(sys.executable).parent
PRODUCT = ("execution", "flows", "loaders", "models_registry", "report", "training", "warehouse")

# beside those of .sqlfluff, which say their reasons there
OFF_FOR_MACROS = {
    "layout": "indentation and line breaks are those of the macros, in which a reader meets this SQL",
    "AL03": "an expression that a union or a contract names needs no name of its own",
    "AL09": "a declaration is `expression as name`, also where the expression is a column of that name",
    "AM06": "macros order by what they are given",
    "AM09": "`offset 0` without an order keeps the planner from merging two steps, which is its only use",
    "RF02": "a step reads one relation beside the row `watermarks`, whose columns are qualified",
    "RF03": "likewise",
    "RF04": "units and names of features are words that PostgreSQL knows too",
    "ST04": "a macro that writes a `case` stands in that of another",
    "ST05": "lateral joins hold subqueries that use what stands outside them",
    "ST09": "a condition reads in the order of its sentence",
    "ST11": "a lateral join is used by its columns, which a wildcard takes along",
}
OFF_IN_PYTHON = {
    "layout": "statements stand in code that has its own indentation",
    "AL03": "Python reads rows by position",
    "AL04": "a subquery may read the relation around it once more",
    "AL05": "an alias may be read by a placeholder alone",
    "AL08": "placeholders all have one name here",
    "AM06": "short statements order by what they select",
    "CV12": "placeholders stand for joins too",
    "RF01": "placeholders stand for relations too",
    "RF02": "short statements read one relation",
    "RF03": "likewise",
    "RF04": "columns are named in the database",
    "RF05": "a report's column heads are for people",
    "ST05": "a subquery is shorter than a CTE where it stands once",
    "ST07": "`using` is shorter than `on` and says the same where both columns have one name",
    "ST09": "a condition reads in the order of its sentence",
    "ST11": "an inner join filters, also when no column of it is read",
}


def lint(folder: Path, off: dict[str, str]) -> str:
    """What sqlfluff says of the files in a folder, nothing when it finds nothing."""
    excluded = ["--exclude-rules", ",".join(["AM04", "ST06", *off])] if off else []
    done = subprocess.run(
        [str(BIN / "sqlfluff"), "lint", "--config", ".sqlfluff", "--templater", "raw", *excluded, str(folder)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    # a file that it did not read is a warning, and no failure of its own
    said = done.stdout + done.stderr
    return "" if done.returncode == 0 and "WARNING" not in said else said


@pytest.fixture(scope="module")
def compiled(warehouse_db: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What dbt's models and tests compile to, in two folders: people wrote the one, and macros the other."""
    folder = tmp_path_factory.mktemp("compiled")
    lend_parsed(folder / "target")
    done = forked.run_dbt(PROJECT, folder / "target", "--quiet", "compile")
    assert done.returncode == 0, done.printed
    for name in ("handwritten", "generated"):
        (folder / name).mkdir()
    for name, text, is_handwritten in linted_sql.compiled(PROJECT, folder / "target"):
        (folder / ("handwritten" if is_handwritten else "generated") / f"{name}.sql").write_text(text)
    return folder


def test_what_people_wrote_is_clean(compiled: Path) -> None:
    assert len(list((compiled / "handwritten").iterdir())) > 20
    assert not lint(compiled / "handwritten", {})


@pytest.mark.whole
def test_what_macros_wrote_is_clean(compiled: Path) -> None:
    """All features and bars among it: thousands of lines."""
    assert len(list((compiled / "generated").iterdir())) > 10
    assert not lint(compiled / "generated", OFF_FOR_MACROS)


def test_sql_in_python_is_clean(tmp_path: Path) -> None:
    statements = 0
    for name, text in linted_sql.in_python([ROOT / package for package in PRODUCT]):
        (tmp_path / f"{name}.sql").write_text(text)
        statements += text.count(";\n")
    assert statements > 250
    assert not lint(tmp_path, OFF_IN_PYTHON)


def test_it_would_find_something(tmp_path: Path) -> None:
    (tmp_path / "wrong.sql").write_text("SELECT a.x FROM raw.b a, raw.c\n")
    for off in ({}, OFF_FOR_MACROS, OFF_IN_PYTHON):
        assert "CP01" in lint(tmp_path, off)
