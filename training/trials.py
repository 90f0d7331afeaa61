"""What was tried, written to schema research: hypotheses, families, runs, trials and their daily returns.

Ids are derived from content, so the same thing tried again is the same row and never counts twice.
"""

import io
import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
import optuna
import psycopg
import pyarrow
from psycopg.types.json import Json, Jsonb
from pyarrow import csv

from models_registry.frozen import canonical_json, sha256
from models_registry.package import library_versions
from training.backtest import TrialPath
from training.dataset import Dataset, utc
from training.hypothesis import Hypothesis
from training.parameters import XGBoostParameters
from training.tuning import Choice
from training.walk_forward import Fold
from warehouse.turns import take_turn

log = logging.getLogger("truebar")

RETURNS = """
    copy research.trial_returns (
        trial_id, symbol, bar_start, fold, score, position, trade, asset_return, benchmark_return, cost, interest,
        net_return, named_return
    )
    from stdin (format csv)
    """

# Changes whenever a backtest of the same data and hypothesis comes to other returns.
_ACCOUNTING = 3

YEAR = np.timedelta64(31_557_600, "s")  # 365.25 days


@dataclass(frozen=True)
class FamilyKey:
    """Everything on the same data is one search: symbols, timeframe, and the out-of-sample window (UTC bar starts)."""

    symbols: tuple[str, ...]
    timeframe: str
    oos_start: datetime
    oos_end: datetime
    oos_bars: int
    periods_per_year: float

    @classmethod
    def of(cls, dataset: Dataset, folds: tuple[Fold, ...]) -> "FamilyKey":
        """The family of a dataset and its folds. periods_per_year is counted on the data's own calendar."""
        sessions = dataset.sessions[folds[0].test[0] : folds[-1].test[-1] + 1]
        years = (sessions[-1] - sessions[0]) / YEAR
        return cls(
            dataset.symbols,
            dataset.timeframe,
            utc(sessions[0]),
            utc(sessions[-1]),
            len(sessions),
            (len(sessions) - 1) / years,
        )

    @property
    def family_id(self) -> str:
        """16 hex digits."""
        window = [self.oos_start.isoformat(), self.oos_end.isoformat()]
        return sha256(canonical_json([sorted(self.symbols), self.timeframe, *window]))[:16]


def run_id(hypothesis: Hypothesis, dataset: Dataset) -> str:
    """16 hex digits from the hypothesis, every value of its data, and the fingerprints of its features.

    And from the way that a backtest counts: what was counted otherwise is another run.
    """
    return sha256(canonical_json([hypothesis.content_hash, dataset.digest, dataset.fingerprints, _ACCOUNTING]))[:16]


def stored_parameters(hypothesis: Hypothesis, chosen: Mapping[str, Any]) -> dict[str, Any]:
    """What a trial is told apart by: every parameter of its booster, whatever else the grid chose for it, and
    what was searched inside its folds."""
    booster = hypothesis.training.xgboost.model_dump(mode="json")
    tune = hypothesis.training.tune
    searched = {} if tune is None else {"tune": tune.model_dump(mode="json")}
    return {**booster, **{key: value for key, value in chosen.items() if key not in booster}, **searched}


def chosen_of(hypothesis: Hypothesis, parameters: Mapping[str, Any]) -> dict[str, Any]:
    """What the grid of a hypothesis chose for a trial, from its stored parameters."""
    return {key: parameters[key] for key in hypothesis.training.grid}


def trial_id(run: str, parameters: Mapping[str, Any]) -> str:
    """16 hex digits from the run and the stored parameters."""
    return sha256(canonical_json([run, parameters]))[:16]


def outcome(connection: psycopg.Connection, run: str) -> str | None:
    """How the newest attempt at a run ended: succeeded, failed, or None when it never finished."""
    row = connection.execute(
        "select status from research.run_outcomes where run_id = %s order by finished_at desc limit 1", (run,)
    ).fetchone()
    return row[0] if row else None


def start_run(
    connection: psycopg.Connection,
    hypothesis: Hypothesis,
    dataset: Dataset,
    family: FamilyKey,
    *,
    source_file: str,
    device: str,
) -> str:
    """Record what is about to be tried, and return its run_id. What is already there stays as it is."""
    run = run_id(hypothesis, dataset)
    connection.execute(
        """
        insert into research.hypotheses (hypothesis_id, experiment_id, content, source_file) values (%s, %s, %s, %s)
        on conflict do nothing
        """,
        (hypothesis.content_hash, hypothesis.experiment_id, Json(hypothesis.model_dump(mode="json")), source_file),
    )
    connection.execute(
        """
        insert into research.families (family_id, symbols, timeframe, oos_start, oos_end, oos_bars, periods_per_year)
        values (%s, %s, %s, %s, %s, %s, %s) on conflict do nothing
        """,
        (
            family.family_id,
            list(family.symbols),
            family.timeframe,
            family.oos_start,
            family.oos_end,
            family.oos_bars,
            family.periods_per_year,
        ),
    )
    connection.execute(
        """
        insert into research.runs (run_id, hypothesis_id, family_id, data_start, data_watermark, rows_used,
        rows_unready, device, feature_fingerprints, library_versions)
        values (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s) on conflict do nothing
        """,
        (
            run,
            hypothesis.content_hash,
            family.family_id,
            utc(dataset.sessions[0]),
            utc(dataset.sessions[-1]),
            int(dataset.is_decided.sum()),
            dataset.unready_rows,
            device,
            Json(dataset.fingerprints),
            Json(library_versions()),
        ),
    )
    return run


def stored_choices(connection: psycopg.Connection, run: str, device: str) -> dict[tuple[str, int], Choice]:
    """What searches inside folds chose so far on this device with the libraries that are here, by trial_id and fold."""
    rows = connection.execute(
        """
        select trial_id, fold, parameters, inner_skill, rounds from research.tuned_folds
        where run_id = %s and device = %s and library_versions = %s
        """,
        (run, device, Jsonb(_searched_with())),
    )
    return {
        (trial, fold): Choice(XGBoostParameters.model_validate(parameters), skill, rounds)
        for trial, fold, parameters, skill, rounds in rows
    }


def store_choice(connection: psycopg.Connection, run: str, trial: str, fold: int, choice: Choice, device: str) -> None:
    """Keep what a search chose, and what it was made with; the same again changes nothing."""
    connection.execute(
        """
        insert into research.tuned_folds (
            run_id, trial_id, fold, parameters, inner_skill, rounds, device, library_versions
        )
        values (%s, %s, %s, %s, %s, %s, %s, %s) on conflict do nothing
        """,
        (
            run,
            trial,
            fold,
            Json(choice.parameters.model_dump(mode="json")),
            _number(choice.inner_skill),
            choice.rounds,
            device,
            Jsonb(_searched_with()),
        ),
    )


def _searched_with() -> dict[str, str]:
    """Versions of the libraries that a search's choice depends on."""
    return {**library_versions(), "optuna": optuna.__version__}


def claim_finish(connection: psycopg.Connection, run: str) -> bool:
    """Whether this transaction may store the run's trials: False when another one did so meanwhile."""
    take_turn(connection, f"run {run}")
    return outcome(connection, run) != "succeeded"


def finish_run(
    connection: psycopg.Connection,
    run: str,
    hypothesis: Hypothesis,
    family: FamilyKey,
    trials: Mapping[str, tuple[Mapping[str, Any], Sequence[str], TrialPath | None]],
    unfitted: Mapping[str, str],
) -> None:
    """Record every trial with its features and daily returns, and that the run succeeded.

    A trial without a path could not be fitted: it is kept by its parameters, with the reason in the run's outcome, and
    is never judged. The caller commits all of it at once.
    """
    reasons = []
    for number, (trial, (parameters, features, path)) in enumerate(trials.items(), start=1):
        connection.execute(
            """
            insert into research.trials (trial_id, run_id, hypothesis_id, family_id, trial_no, parameters,
            skill_in_sample, skill_out_of_sample, left_out, coverage, features)
            values (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)
            """,
            (
                trial,
                run,
                hypothesis.content_hash,
                family.family_id,
                number,
                Json(parameters),
                None if path is None else _number(path.skill_in_sample),
                None if path is None else _number(path.skill_out_of_sample),
                Json({} if path is None else path.left_out),
                Json(
                    {} if path is None else dict(zip(family.symbols, map(_number, path.coverage or ()), strict=False))
                ),
                sorted(features),
            ),
        )
        if path is None:
            reasons.append(f"trial {number}: {unfitted[trial]}")
            log.warning("trial %d was not fitted, the others go on: %s", number, unfitted[trial])
            continue
        with connection.cursor().copy(RETURNS) as copy:
            copy.write(_as_csv(trial, family.symbols, path))
    record_outcome(connection, run, "succeeded", "; ".join(reasons) or None)


def record_outcome(connection: psycopg.Connection, run: str, status: str, error: str | None) -> None:
    """Append how an attempt at a run ended."""
    connection.execute(
        "insert into research.run_outcomes (run_id, status, error) values (%s, %s, %s)", (run, status, error)
    )


def _as_csv(trial: str, symbols: tuple[str, ...], path: TrialPath) -> bytes:
    count, width = len(path.sessions), len(symbols)
    scores = path.scores.reshape(-1)
    table = pyarrow.table(
        {
            "trial_id": [trial] * (count * width),
            "symbol": list(symbols) * count,
            "bar_start": pyarrow.array(np.repeat(path.sessions, width), pyarrow.timestamp("us", "UTC")),
            "fold": np.repeat(path.fold, width),
            "score": pyarrow.array(scores, mask=np.isnan(scores)),
            "position": path.positions.reshape(-1),
            "trade": path.trades.reshape(-1),
            "asset_return": path.asset_returns.reshape(-1),
            "benchmark_return": path.benchmark_returns.reshape(-1),
            "cost": path.costs.reshape(-1),
            "interest": path.interest.reshape(-1),
            "net_return": path.net_returns.reshape(-1),
            "named_return": pyarrow.nulls(count * width) if path.named_returns is None else path.named_returns.ravel(),
        }
    )
    buffer = io.BytesIO()
    csv.write_csv(table, buffer, csv.WriteOptions(include_header=False))
    return buffer.getvalue()


def _number(value: float) -> float | None:
    """None where a number could not be computed."""
    return value if math.isfinite(value) else None
