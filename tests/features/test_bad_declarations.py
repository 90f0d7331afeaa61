"""What is wrong with a feature's declaration is said before the build touches the warehouse, with file and feature."""

import shutil
from pathlib import Path

import pytest

from tests import forked
from tests.machine import lend_parsed
from warehouse.connection import connect

PROJECT = Path(__file__).resolve().parents[2] / "dbt_project"
MOMENTUM = "macros/features/groups/momentum.sql"
TREND = "macros/features/groups/trend.sql"
YAML = "models/features/_features__models.yml"
ENTRY = """      - name: {name}
        data_type: float8
        description: For this test.
        config: {{meta: {{group: {group}, lookback: {lookback}, unit: ratio}}}}
"""

# what is written into the project: (file, before which text, the text), and the sentence that it must yield
MISTAKES = {
    "a column that does not exist": (
        [(MOMENTUM, "{% endmacro", ", clsoe / close_ago_1 as misspelt"), (YAML, "", ("misspelt", "momentum", 2))],
        f"{MOMENTUM}: misspelt names clsoe, which is no column of the bars and is declared nowhere",
    ),
    "declared, not documented": (
        [(MOMENTUM, "{% endmacro", ", close / open as secret")],
        f"{MOMENTUM}: secret is declared, but features_1d does not document it",
    ),
    "documented, not declared": (
        [(YAML, "", ("promised", "trend", 2))],
        f"{YAML}: features_1d.promised is documented, but declared nowhere",
    ),
    "two of one name": (
        [(TREND, "{% endmacro", ", close / open as ret_1")],
        f"{TREND}: ret_1 is declared in groups/momentum.sql too",
    ),
    "a group that no hypothesis can find": (
        [(MOMENTUM, "{% endmacro", ", close / open as lost"), (YAML, "", ("lost", "astrology", 1))],
        f"{YAML}: features_1d.lost has the group astrology, which no hypothesis can choose: momentum, trend",
    ),
    "a lookback past the history that is read": (
        [(MOMENTUM, "{% endmacro", ", close / close_ago_90 as distant"), (YAML, "", ("distant", "momentum", 91))],
        f"{YAML}: features_1d.distant has a lookback of 91 bars, but the model reads 61",
    ),
    "a lookback that is not what is read": (
        [(MOMENTUM, "{% endmacro", ", close / close_ago_7 as hasty"), (YAML, "", ("hasty", "momentum", 2))],
        f"{YAML}: features_1d.hasty has a lookback of 2 bars, but is computed from 8",
    ),
    "a function of the moment": (
        [(MOMENTUM, "{% endmacro", ", close * random() as dice"), (YAML, "", ("dice", "momentum", 1))],
        f"{MOMENTUM}: dice calls random, whose result depends on when it runs: a live model must be deterministic",
    ),
    "a division by what may be zero": (
        [(MOMENTUM, "{% endmacro", ", close / (high - low) as split_up"), (YAML, "", ("split_up", "momentum", 1))],
        f"{MOMENTUM}: split_up divides by what may be zero without ratio(), which raises an error at zero",
    ),
    "a division by a volume": (
        [(MOMENTUM, "{% endmacro", ", close / volume as thin"), (YAML, "", ("thin", "momentum", 1))],
        f"{MOMENTUM}: thin divides by volume without ratio(), which raises an error at zero",
    ),
    "a bare logarithm": (
        [(MOMENTUM, "{% endmacro", ", ln(volume) as logged"), (YAML, "", ("logged", "momentum", 1))],
        f"{MOMENTUM}: logged calls ln() without log_ratio(), which raises an error at zero",
    ),
    "a bare root": (
        [(MOMENTUM, "{% endmacro", ", sqrt(close - open) as rooted"), (YAML, "", ("rooted", "momentum", 1))],
        f"{MOMENTUM}: rooted calls sqrt() without root(), which raises an error below zero",
    ),
    "a function without bounds": (
        [(MOMENTUM, "{% endmacro", ", exp(close) as grown"), (YAML, "", ("grown", "momentum", 1))],
        f"{MOMENTUM}: grown calls exp, which may raise an error",
    ),
    "a cast": (
        [(MOMENTUM, "{% endmacro", ", close::integer as whole"), (YAML, "", ("whole", "momentum", 1))],
        f"{MOMENTUM}: whole casts to integer, which may raise an error",
    ),
    "an operator without bounds": (
        [(MOMENTUM, "{% endmacro", ", close ^ 9 as raised"), (YAML, "", ("raised", "momentum", 1))],
        f"{MOMENTUM}: raised uses ^, which may raise an error",
    ),
    "a query": (
        [(MOMENTUM, "{% endmacro", ", (select 1 / 0) as queried"), (YAML, "", ("queried", "momentum", 1))],
        f"{MOMENTUM}: queried names select, which is no column of the bars and is declared nowhere",
    ),
    "the clock in another live model": (
        [("models/canonical/ohlcv_1d.sql", "cross join lateral", "-- now() may be named\n    {{ 'now()' }}")],
        "models/canonical/ohlcv_1d.sql calls now, whose result depends on when it runs",
    ),
}


@pytest.fixture(scope="module", params=["build", "compile"])
def complaint(request: pytest.FixtureRequest, warehouse_db: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """dbt's own words about a project with every mistake at once: `dbt compile` finds what `dbt build` finds."""
    project = tmp_path_factory.mktemp("bad") / "dbt_project"
    shutil.copytree(PROJECT, project, ignore=shutil.ignore_patterns("target", "logs"))
    for changes, _ in MISTAKES.values():
        for file, before, text in changes:
            path = project / file
            if file == YAML:
                name, group, lookback = text
                before, text = "      - name: ret_1\n", ENTRY.format(name=name, group=group, lookback=lookback)
            elif file != "models/canonical/ohlcv_1d.sql":
                # the last declaration of a group ends without a comma
                text = f"{text}\n"
            content = path.read_text()
            assert before in content
            path.write_text(content.replace(before, text + before, 1))
    lend_parsed(project / "target")
    answer = forked.run_dbt(project, project / "target", "--no-use-colors", request.param)
    assert answer.returncode != 0
    return " ".join(answer.printed.split())


@pytest.mark.parametrize("mistake", MISTAKES)
def test_the_build_stops_with_file_and_feature(mistake: str, complaint: str) -> None:
    assert MISTAKES[mistake][1] in complaint


def test_nothing_was_built(complaint: str) -> None:
    with connect("analyst") as connection:
        built = connection.execute("select count(*) from pg_views where schemaname in ('staging', 'features')")
        assert built.fetchone()[0] == 0
