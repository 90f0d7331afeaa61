"""Build and test the warehouse, and audit the features for look-ahead."""

import logging

from prefect import flow, task

from flows.dbt_command import run_dbt
from loaders.seeds.wrong_lines import wrong_lines
from training.data_evidence import recording_build, recording_tests
from training.look_ahead import audit, auditable, due
from warehouse.connection import connect

log = logging.getLogger("truebar")


@task
def check_seeds() -> None:
    """Say which lines of the seeds cannot be. All else goes on."""
    with connect("transformer") as connection:
        for sentence in wrong_lines(connection):
            log.warning("%s", sentence)


@task
def build_models(full_refresh: bool) -> None:
    """`dbt build`: every model and every data test; a failing gate stops what stands on it.

    dbt's unit tests are left out: they test the SQL and not what has landed.
    """
    with recording_build(_timeframes()):
        nodes = run_dbt("build", "--exclude-resource-type", "unit_test", *(["--full-refresh"] if full_refresh else []))
    for symbol, sentence in uncomputable():
        log.warning("%s could not be computed: %s", symbol, sentence)
    counts = {kind: sum(node.kind == kind for node in nodes) for kind in ("model", "test")}
    log.info("dbt build: %d models built, %d tests passed", counts["model"], counts["test"])


def uncomputable() -> list[tuple[str, str]]:
    """Symbols whose rows end with their history because arithmetic refused them: (symbol, in which model and why)."""
    with connect("analyst") as connection:
        return connection.execute(
            "select symbol, model || ': ' || reason from canonical.live_failures order by symbol, model"
        ).fetchall()


def _timeframes() -> list[str]:
    with connect("analyst") as connection:
        return [name for (name,) in connection.execute("select timeframe from reference.timeframes order by length")]


@task
def audit_look_ahead(timeframe: str) -> int:
    """Change every bar after a moment: no feature at or before it may change. Returns how many rows were compared."""
    return audit(timeframe)


@flow
def look_ahead(timeframes: list[str] | None = None) -> dict[str, int]:
    """Audit the features of some timeframes (default: all); returns how many rows of each were compared."""
    rows = {timeframe: audit_look_ahead(timeframe) for timeframe in auditable(timeframes or ())}
    compared = ", ".join(f"{count} of {timeframe}" for timeframe, count in rows.items() if count)
    log.info("look-ahead audit: feature rows recomputed: %s; none changed", compared or "none, there are no bars")
    return rows


@flow
def full_tests() -> None:
    """Every data test over everything, as after a copy or a repair of the database by hand. Fails with what failed.

    A build tests what was built or landed since each test last passed.
    """
    with recording_tests(_timeframes()):
        nodes = run_dbt("test", "--vars", "full_tests: true")
    log.info("dbt test: %d tests passed over all rows", sum(node.kind == "test" for node in nodes))


@flow
def build(full_refresh: bool = False) -> None:
    """Bring canonical bars, features and results up to what has landed. Fails with the names of what failed."""
    check_seeds()
    build_models(full_refresh)
    with connect("transformer") as connection:
        timeframes = due(connection)
    if timeframes:
        look_ahead(timeframes)
    else:
        log.info("look-ahead audit: features are computed as when they last passed it")
