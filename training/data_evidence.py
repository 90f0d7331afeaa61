"""What the data of a run went through: do their tests pass, and does none of its features know the future?

The warehouse remembers both, by functions that only the builder of the data may call. The gate asks; nobody declares.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime

import psycopg
from psycopg.types.json import Jsonb

from warehouse.connection import connect
from warehouse.errors import Stop
from warehouse.rows import scalar

RUN = """
    select
        families.timeframe,
        (
            select array_agg(feature || case when passed is null then ' (never audited)' else '' end order by feature)
            from jsonb_each_text(runs.feature_fingerprints) as used (feature, fingerprint)
            left join lateral (
                select passed from research.feature_audits as audits
                where
                    audits.timeframe = families.timeframe
                    and audits.feature = used.feature and audits.fingerprint = used.fingerprint
                order by audits.audited_at desc
                limit 1
            ) as newest on true
            where passed is distinct from true
        ) as unsound,
        (
            select count(*) from jsonb_each_text(runs.feature_fingerprints) as used (feature, fingerprint)
            where not exists (
                select from research.feature_audits as audits
                where
                    audits.timeframe = families.timeframe
                    and audits.feature = used.feature and audits.fingerprint = used.fingerprint
            )
        ) as never_audited,
        tests.passed,
        tests.seen::text
    from research.runs
    inner join research.families on runs.family_id = families.family_id
    left join lateral (
        select passed, seen from research.data_tests
        where data_tests.timeframe = families.timeframe
        order by data_tests.tested_at desc
        limit 1
    ) as tests on true
    where runs.run_id = %s
"""

BUILT_SINCE = """
    select exists (
        select from canonical.live_growths
        where model = any(%s) and not pg_visible_in_snapshot(built_xid, %s::pg_snapshot)
    )
"""

# A build tests what it builds, up to where the histories end then; what has landed since is computed at each read.
NOT_BUILT = """
    select wanted.symbol, wanted.bar_start
    from unnest(%s::text[], %s::timestamptz[]) as wanted (symbol, bar_start)
    cross join unnest(%s::text[]) as relations (model)
    left join canonical.live_watermarks as built on wanted.symbol = built.symbol and relations.model = built.model
    where built.bar_start is null or built.bar_start < wanted.bar_start
    order by wanted.bar_start desc, wanted.symbol asc
    limit 1
"""


@dataclass(frozen=True)
class DataEvidence:
    """Whether the newest tests of the data passed, and the newest look-ahead audit of each feature, as computed."""

    data_tests_passed: bool
    lookahead_audit_passed: bool


class Untested(Stop):
    """Nobody has tested these data, or audited these features. A look would be wasted, so there is none."""


def of_run(gate: psycopg.Connection, run_id: str) -> DataEvidence:
    """What the warehouse remembers about the data of a run. Raises Untested where there is nothing to remember."""
    row = gate.execute(RUN, (run_id,)).fetchone()
    if row is None:
        raise Untested(f"there is no run {run_id}: train a hypothesis first")
    timeframe, unsound, never_audited, passed, seen = row
    if never_audited:
        raise Untested(
            f"features of {timeframe} were never audited as run {run_id} had them: {', '.join(unsound)[:200]}; "
            f"run `python -m flows look-ahead {timeframe}`, and train again if that changes nothing"
        )
    if passed is None or _built_since(timeframe, seen):
        raise Untested(
            f"the data of {timeframe} were built or grew since they were tested: run `python -m flows build`"
        )
    return DataEvidence(data_tests_passed=passed, lookahead_audit_passed=not unsound)


def require_sound(evidence: DataEvidence) -> None:
    """Raise Stop unless tests and audits passed: what could not run, or failed, is nothing that a model did."""
    if not evidence.data_tests_passed:
        raise Stop(
            "the newest build or tests of its data did not pass: mend what `python -m flows build` says, and look again"
        )
    if not evidence.lookahead_audit_passed:
        raise Stop(
            "a feature of it did not pass its look-ahead audit: mend what `python -m flows look-ahead` says, and look "
            "again"
        )


def require_built(timeframe: str, newest: Mapping[str, datetime]) -> None:
    """Raise Untested unless bars and features were built, and so tested, up to these starts of bars, by symbol."""
    asked = ([*newest], [*newest.values()], _models(timeframe))
    with connect("analyst", read_only=True) as connection:
        missing = connection.execute(NOT_BUILT, asked).fetchone()
    if missing is not None:
        symbol, bar_start = missing
        raise Untested(
            f"{symbol}'s bar of {bar_start:%F %R} UTC landed after the newest build, and was not tested: run "
            "`python -m flows build`"
        )


@contextmanager
def recording_tests(timeframes: Sequence[str]) -> Iterator[None]:
    """Around a run of the data tests of some timeframes: what it raises is remembered as a failure, and goes on."""
    with connect("transformer") as connection:
        seen = scalar(connection.execute("select pg_current_snapshot()::text"))
    try:
        yield
    except Stop as error:
        _record(timeframes, False, str(error), seen)
        raise
    _record(timeframes, True, None, seen)


@contextmanager
def recording_build(timeframes: Sequence[str]) -> Iterator[None]:
    """Around a build that tests what it has built: what it built counts as seen."""
    try:
        yield
    except Stop as error:
        _record(timeframes, False, str(error), None)
        raise
    _record(timeframes, True, None, None)


def record_audit(connection: psycopg.Connection, timeframe: str, peeking: Sequence[str]) -> None:
    """Remember an audit of all features of a timeframe, as the catalog says that they are computed."""
    fingerprints = connection.execute(
        "select feature, fingerprint from features.catalog where timeframe = %s", (timeframe,)
    ).fetchall()
    connection.execute(
        "select research.record_feature_audit(%s, %s, %s)",
        (timeframe, Jsonb(dict(fingerprints)), list(peeking)),
    )


def _record(timeframes: Sequence[str], passed: bool, said: str | None, seen: str | None) -> None:
    with connect("transformer") as connection:
        connection.execute(
            "select research.record_data_tests(%s, %s, %s, coalesce(%s::pg_snapshot, pg_current_snapshot()))",
            (list(timeframes), passed, said, seen),
        )


def _built_since(timeframe: str, seen: str) -> bool:
    with connect("analyst") as connection:
        return bool(scalar(connection.execute(BUILT_SINCE, (_models(timeframe), seen))))


def _models(timeframe: str) -> list[str]:
    return [f"ohlcv_{timeframe}", f"features_{timeframe}"]
