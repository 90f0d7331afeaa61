"""One look of the gate at a family: read what was tried, judge what is new, store every verdict and check."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import psycopg
import pyarrow
from psycopg.types.json import Jsonb

from training.gate import Family, Trial, Verdict, judge
from training.hypothesis import Hypothesis
from warehouse.connection import arrow, connect
from warehouse.errors import Stop
from warehouse.rows import scalar
from warehouse.turns import take_turn

TRIALS = """
    select
        trials.trial_id, trials.skill_in_sample, trials.skill_out_of_sample, hypotheses.content,
        exists (select from research.verdicts where verdicts.trial_id = trials.trial_id) as is_judged
    from research.trials
    inner join research.hypotheses using (hypothesis_id)
    where trials.family_id = %s
    order by trials.registered_at, trials.trial_id
"""

PATHS = """
    select
        trial_returns.trial_id, symbol, bar_start, fold, position, asset_return,
        score is null and trade <> 0 as is_unready
    from research.trial_returns
    inner join research.trials using (trial_id)
    where trials.family_id = $1
    order by trial_returns.trial_id, bar_start, symbol
"""


class JudgementError(Stop):
    """There is no such family, or nothing in it to judge."""


@dataclass(frozen=True)
class DataEvidence:
    """What the data went through before training saw it: the dbt build, and the look-ahead audit of the features."""

    dbt_build_passed: bool
    lookahead_audit_passed: bool


@dataclass(frozen=True)
class _Stored:
    trial_id: str
    skill_in_sample: float | None
    skill_out_of_sample: float | None
    hypothesis: Hypothesis
    is_judged: bool


def judge_family(family_id: str, evidence: DataEvidence) -> dict[str, Verdict]:
    """Judge the family's trials that have no verdict yet, all in one look, and store the verdicts.

    Every trial ever made on this data counts in the tests, failures included. Returns the new verdicts by trial_id;
    with nothing new it returns none and spends no look. Raises JudgementError for an unknown family.
    """
    with connect("gate") as connection:
        take_turn(connection, f"family {family_id}")
        periods_per_year = _periods_per_year(connection, family_id)
        stored = _stored_trials(connection, family_id)
        new = [trial for trial in stored if not trial.is_judged]
        if not new:
            return {}
        family = Family(_trials(family_id, stored, evidence), periods_per_year)
        look = _next_look(connection, family_id)
        verdicts: dict[str, Verdict] = {}
        for thresholds in dict.fromkeys(trial.hypothesis.thresholds for trial in new):
            only = [trial.trial_id for trial in new if trial.hypothesis.thresholds == thresholds]
            # the seed is the family's: asking again is no second draw
            verdicts |= judge(family, look_no=look, thresholds=thresholds, seed=int(family_id[:8], 16), only=only)
        _store(connection, family_id, look, verdicts)
    return verdicts


def _periods_per_year(connection: psycopg.Connection, family_id: str) -> float:
    row = connection.execute(
        "select periods_per_year from research.families where family_id = %s", (family_id,)
    ).fetchone()
    if row is None:
        raise JudgementError(f"there is no family {family_id}: train a hypothesis first")
    return float(row[0])


def _stored_trials(connection: psycopg.Connection, family_id: str) -> list[_Stored]:
    rows = connection.execute(TRIALS, (family_id,)).fetchall()
    return [_Stored(row[0], row[1], row[2], Hypothesis.model_validate(row[3]), row[4]) for row in rows]


def _trials(family_id: str, stored: list[_Stored], evidence: DataEvidence) -> tuple[Trial, ...]:
    paths = _paths(family_id)
    return tuple(
        Trial(
            trial_id=trial.trial_id,
            cost_rate=trial.hypothesis.costs.bps_per_side / 1e4,
            skill_in_sample=_number(trial.skill_in_sample),
            skill_out_of_sample=_number(trial.skill_out_of_sample),
            lookahead_audit_passed=evidence.lookahead_audit_passed,
            dbt_build_passed=evidence.dbt_build_passed,
            **paths[trial.trial_id],
        )
        for trial in stored
    )


def _paths(family_id: str) -> dict[str, dict[str, Any]]:
    """By trial: positions and asset_returns (T, S), fold (T,), and positions held on rows that were not ready."""
    table = arrow("trainer", PATHS, (family_id,))
    columns = {name: table.column(name).to_numpy() for name in ("fold", "position", "asset_return", "is_unready")}
    trial_ids, starts = _runs_of(table.column("trial_id"))
    paths = {}
    for trial_id, start, end in zip(trial_ids, starts, [*starts[1:], table.num_rows], strict=True):
        part = {name: values[start:end] for name, values in columns.items()}
        width = len(table.column("symbol").slice(start, end - start).unique())
        paths[trial_id] = {
            "positions": part["position"].reshape(-1, width),
            "asset_returns": part["asset_return"].reshape(-1, width),
            "fold": part["fold"].reshape(-1, width)[:, 0],
            "unready_rows": int((part["is_unready"] & (part["position"] != 0)).sum()),
        }
    return paths


def _runs_of(ordered: pyarrow.ChunkedArray) -> tuple[list[str], list[int]]:
    values = np.array(ordered.to_pylist(), dtype=object)
    starts = [0, *(np.flatnonzero(values[1:] != values[:-1]) + 1).tolist()] if len(values) else []
    return [values[start] for start in starts], starts


def _next_look(connection: psycopg.Connection, family_id: str) -> int:
    return int(
        scalar(
            connection.execute(
                "select coalesce(max(look_no), 0) + 1 from research.gate_looks where family_id = %s", (family_id,)
            )
        )
    )


def _store(connection: psycopg.Connection, family_id: str, look: int, verdicts: dict[str, Verdict]) -> None:
    """The database counts looks and trials itself, and refuses a verdict that its checks do not say."""
    judged = [
        {
            "trial_id": verdict.trial_id,
            "verdict": verdict.verdict,
            "explanation": verdict.explanation,
            "years_missing": _finite(verdict.years_missing),
            "net_sharpe": _finite(verdict.net_sharpe),
            "shrunk_sharpe": _finite(verdict.shrunk_sharpe),
            "deflated_sharpe_probability": _finite(verdict.deflated_sharpe_probability),
            "minimum_track_record_years": _finite(verdict.minimum_track_record_years),
            "pbo": _finite(verdict.pbo),
            "checks": [
                {
                    "tier": check.tier,
                    "check_name": check.name,
                    "value": _finite(check.value),
                    "threshold": _finite(check.threshold),
                    "comparison": check.comparison,
                    "outcome": check.outcome,
                    "explanation": check.explanation,
                    "years_missing": _finite(check.years_missing),
                }
                for check in verdict.checks
            ],
        }
        for verdict in verdicts.values()
    ]
    connection.execute("select research.record_look(%s, %s, %s)", (family_id, look, Jsonb(judged)))


def _finite(value: float | None) -> float | None:
    return float(value) if value is not None and math.isfinite(value) else None


def _number(value: float | None) -> float:
    return math.nan if value is None else value
