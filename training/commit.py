"""From a passed gate to a registered model: fit once more on all data, package it, register it, move it to paper."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from psycopg.rows import dict_row

from models_registry import registry
from models_registry.distributions import SCORE, Distribution, distributions
from models_registry.package import ModelPackage, model_id
from models_registry.registry import ModelRecord
from training.hypothesis import Hypothesis
from training.train import prepare
from training.trials import chosen_of
from warehouse.connection import connect
from warehouse.errors import Stop

# Rows that a package predicts again at each load.
PROOF_ROWS = 16
# Rows over which contributions are averaged: more would cost minutes and change no digit that anybody reads.
CONTRIBUTION_ROWS = 2000

# A grid's neighbours often end alike and would trade the same symbols twice: the best of a run stands for it.
BEST = """
    select trials.trial_id, trials.run_id, trials.parameters, hypotheses.content, verdicts.family_id, verdicts.look_no
    from research.trials
    inner join research.hypotheses using (hypothesis_id)
    inner join research.verdicts using (trial_id)
    where trials.run_id = %s and verdicts.verdict = %s
    order by verdicts.shrunk_sharpe desc nulls last, trials.trial_no asc
    limit 1
"""

EVIDENCE = """
    select
        verdicts.family_id, verdicts.look_no, gate_looks.trials as family_trials, verdicts.verdict,
        verdicts.net_sharpe, verdicts.shrunk_sharpe, verdicts.deflated_sharpe_probability,
        verdicts.minimum_track_record_years, verdicts.pbo,
        (
            select jsonb_agg(
                jsonb_build_object(
                    'tier', tier, 'name', check_name, 'value', value, 'comparison', comparison, 'threshold', threshold
                )
                order by tier, check_name
            )
            from research.gate_checks
            where gate_checks.trial_id = verdicts.trial_id and gate_checks.look_no = verdicts.look_no
        ) as checks
    from research.verdicts
    inner join research.gate_looks using (family_id, look_no)
    where verdicts.trial_id = %s
    order by verdicts.look_no desc
    limit 1
"""

SCORES = """
    select extract(epoch from bar_start)::float8, score
    from research.trial_returns
    where trial_id = %s and score is not null
    order by bar_start
"""


class CommitError(Stop):
    """The data are no longer what the trial was judged on."""


def commit_passing(run_id: str) -> ModelRecord | None:
    """Register the best passing trial of a run as a model in state paper; None when no trial passed.

    Best is the highest shrunk Sharpe ratio; the gate's tests already allow for choosing among the family. A model that
    is registered stays as it is, and one whose symbols another model trades stays a candidate. Raises CommitError when
    the data changed since the trial was made.
    """
    record, best = register_passing(run_id), _best(run_id, "PASSED")
    if record is None or best is None:
        return None
    if record.state == "candidate" and not registry.rivals(record.model_id, role="trainer"):
        reason = f"passed the gate at look {best['look_no']} of family {best['family_id']}"
        record = registry.advance(record.model_id, "paper", reason)
    return record


def register_passing(run_id: str) -> ModelRecord | None:
    """Register the best passing trial of a run, as a candidate that waits for a person; None when no trial passed.

    A model that is registered stays as it is. Raises CommitError when the data changed since the trial was made.
    """
    best = _best(run_id, "PASSED")
    return None if best is None else _registered(best, f"best passing trial of run {run_id}")


def enter_shadow(run_id: str, looks: Sequence[int], reason: str) -> ModelRecord:
    """Let the best trial of a run whose record is too short decide every new bar and order nothing.

    It is judged after `looks`, ascending numbers of days, the first at least 100. A model that is in the shadow already
    stays as it is. Raises Stop when a trial of the run has passed, or none is only too short; CommitError when the data
    changed since the trial was made; RegistryError for other looks.
    """
    if _best(run_id, "PASSED") is not None:
        raise Stop(f"a trial of run {run_id} has passed: it needs no shadow")
    best = _best(run_id, "INSUFFICIENT_EVIDENCE")
    if best is None:
        raise Stop(
            f"run {run_id} has no trial whose record is only too short: `python -m training judge` says of each why"
        )
    record = _registered(best, f"best trial with too short a record of run {run_id}")
    if record.state == "candidate":
        record = registry.register_shadow(record.model_id, looks, reason)
    return record


def _best(run_id: str, verdict: str) -> dict[str, Any] | None:
    with connect("trainer", read_only=True) as connection, connection.cursor(row_factory=dict_row) as cursor:
        return cursor.execute(BEST, (run_id, verdict)).fetchone()


def _registered(best: dict[str, Any], reason: str) -> ModelRecord:
    """The model of a trial; made and registered as a candidate when there is none yet."""
    hypothesis = Hypothesis.model_validate(best["content"])
    name = model_id(hypothesis.experiment_id, best["trial_id"])
    record = next((known for known in registry.models(role="trainer") if known.model_id == name), None)
    if record is not None:
        return record
    with connect("trainer", read_only=True) as connection, connection.cursor(row_factory=dict_row) as cursor:
        # every trial has a family, and a family has evidence
        evidence = cursor.execute(EVIDENCE, (best["trial_id"],)).fetchone() or {}
    package, trained_on = _final_package(hypothesis, best, evidence)
    return registry.register(package, reason, trained_on)


def _final_package(
    hypothesis: Hypothesis, best: dict[str, Any], evidence: dict[str, Any]
) -> tuple[ModelPackage, tuple[Distribution, ...]]:
    search, _ = prepare(hypothesis)
    if search.run_id != best["run_id"]:
        raise CommitError(
            f"the data of {hypothesis.experiment_id} changed since its trials were judged: train it again"
        )
    chosen = hypothesis.variant(chosen_of(hypothesis, best["parameters"]))
    every_session = np.arange(len(search.dataset.sessions))
    backtest = search.backtest(chosen)
    parameters = backtest.tuned(chosen.training.xgboost, every_session, 0)
    package = backtest.package(parameters, every_session, best["trial_id"])
    sample = backtest.sample(every_session, every_session)
    rows = sample.features
    proof = rows.take(np.linspace(0, len(rows) - 1, PROOF_ROWS).astype(int))
    package = package.proven(proof.stored())
    # the trial's own choice of the grid is in target, sizing and parameters; what was registered is the whole file
    facts = {"gate_evidence": evidence, "hypothesis_id": hypothesis.content_hash}
    some = rows.take(np.unique(np.linspace(0, len(rows) - 1, CONTRIBUTION_ROWS).astype(int)))
    contributions = dict(zip(sample.names, package.contributions(some.stored()).tolist(), strict=True))
    trained_on = tuple(
        replace(one, contribution=contributions[one.quantity])
        for one in distributions(zip(sample.names, rows.columns(), strict=True), sample.bars)
    )
    package = replace(package, manifest=package.manifest.model_copy(update=facts))
    return package, (*trained_on, *_scores(best["trial_id"]))


def _scores(trial_id: str) -> tuple[Distribution, ...]:
    """Of the trial's scores out of sample: those on its own training rows are surer than any later ones."""
    with connect("trainer", read_only=True) as connection:
        rows = connection.execute(SCORES, (trial_id,)).fetchall()
    bars, scores = np.array(rows, dtype=float).reshape(-1, 2).T
    return distributions([(SCORE, scores)], bars)
