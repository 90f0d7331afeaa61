"""One look of the gate: read what was tried on related data, judge what is new, store every verdict and check.

What is related, how many looks there were, and what the data went through is asked of the database. All families that
are judged together are one look.
"""

import logging
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import psycopg
import pyarrow
from psycopg.types.json import Jsonb

from training import data_evidence
from training.data_evidence import DataEvidence, Untested
from training.gate import Search, Trial, Verdict, days_per_year, judge
from training.hypothesis import Hypothesis
from warehouse.connection import arrow, connect
from warehouse.errors import Stop
from warehouse.rows import scalar
from warehouse.turns import take_turn

log = logging.getLogger("truebar")

# More are not read for one look: those that are stand for the rest, and p-values are multiplied accordingly.
MOST_TRIALS = 1000
# Rows of returns that are read at once.
BATCH_ROWS = 2_000_000

FAMILY = """
    select oos_bars * cardinality(symbols)
    from research.families where family_id = %s
"""

TRIALS = """
    select
        trials.trial_id, trials.run_id, trials.skill_in_sample, trials.skill_out_of_sample, memorised, trials.coverage,
        hypotheses.hypothesis_id, hypotheses.content, trials.parameters,
        exists (select from research.verdicts where verdicts.trial_id = trials.trial_id) as is_judged
    from research.trials
    inner join research.hypotheses using (hypothesis_id)
    left join research.trial_controls using (trial_id)
    where trials.trial_id = any(%s) and exists (
        select from research.trial_returns where trial_returns.trial_id = trials.trial_id
    )
    order by trials.registered_at, trials.trial_id
"""

RELATED = """
    select distinct related.trial_id
    from unnest(%s::text[]) as hypothesis
    cross join lateral research.related_trials(%s, hypothesis) as related
    order by related.trial_id
"""

# Trials that may repeat a judged trial with other dates. The database compares their paths.
TWINS = """
    select own.trial_id, other.trial_id
    from research.trials as own
    inner join research.trials as other
        on own.family_id = other.family_id
        and own.skill_in_sample = other.skill_in_sample and own.skill_out_of_sample = other.skill_out_of_sample
    where own.trial_id = any(%s) and exists (
        select from research.verdicts where verdicts.trial_id = other.trial_id
    )
    order by own.trial_id, other.trial_id
"""

PATHS = """
    select
        trial_id, symbol, bar_start, fold, position, trade, asset_return, benchmark_return, cost,
        score is null and trade <> 0 as is_unready
    from research.trial_returns
    where trial_id = any($1)
    order by trial_id, bar_start, symbol
"""

CLASSES = "select symbol, asset_class from reference.instruments where symbol = any($1)"


class JudgementError(Stop):
    """There is no such family, or nothing in it to judge."""


@dataclass(frozen=True)
class _Stored:
    trial_id: str
    run_id: str
    skill_in_sample: float | None
    skill_out_of_sample: float | None
    memorised: float | None
    coverage: dict[str, float | None] | None
    hypothesis_id: str
    content: dict[str, Any]
    parameters: dict[str, Any]
    is_judged: bool

    @property
    def hypothesis(self) -> Hypothesis:
        return Hypothesis.model_validate(self.content)

    @property
    def max_weight(self) -> float:
        """What the grid chose, or the file says."""
        said = self.content["position_sizing"].get("max_weight", 1.0)
        return float(self.parameters.get("position_sizing.max_weight", said))


def judge_families(family_ids: Iterable[str]) -> dict[str, Verdict]:
    """Judge the families' trials that have no verdict yet, all in one look, and store the verdicts.

    Every trial ever made on related data counts in the tests, failures included, and so does every earlier look at one.
    Returns the new verdicts by trial_id; with nothing new it returns none and spends no look. A trial whose path is
    that of a judged one gets its verdict again. A run whose data nobody has tested, or whose features nobody has
    audited, is put off and named, and the others are judged. Raises JudgementError for an unknown family, and Untested
    where all that waits is put off.
    """
    verdicts: dict[str, Verdict] = {}
    put_off: dict[str, Untested] = {}
    with connect("gate") as connection:
        take_turn(connection, "look")
        for family_id in sorted(set(family_ids)):
            verdicts |= _judge(connection, family_id, put_off)
    if put_off and not verdicts:
        raise Untested("; ".join(dict.fromkeys(map(str, put_off.values()))))
    for run_id, error in put_off.items():
        log.warning("run %s is put off, and gets no verdict now: %s", run_id, error)
    return verdicts


def _judge(connection: psycopg.Connection, family_id: str, put_off: dict[str, Untested]) -> dict[str, Verdict]:
    """Verdicts of one family; what cannot be judged yet is added to `put_off`, by run."""
    family = connection.execute(FAMILY, (family_id,)).fetchone()
    if family is None:
        raise JudgementError(f"there is no family {family_id}: train a hypothesis first")
    (rows,) = family
    waiting = [trial for trial in _trials_of(connection, family_id) if not trial.is_judged]
    unrepeated = _without_repeated(connection, waiting)
    evidence: dict[str, DataEvidence] = {}
    for run_id in sorted({trial.run_id for trial in unrepeated}):
        try:
            evidence[run_id] = data_evidence.of_run(connection, run_id)
        except Untested as error:
            put_off[run_id] = error
    new = [trial for trial in unrepeated if trial.run_id in evidence]
    if not new:
        return {}
    hypotheses = sorted({trial.hypothesis_id for trial in new})
    look = 1 + int(scalar(connection.execute("select research.looks_before(%s, %s)", (family_id, hypotheses))))
    # the seed is the family's: asking again is no second draw
    seed = int(family_id[:8], 16)
    judged = {trial.trial_id for trial in new}
    related = [row[0] for row in connection.execute(RELATED, (hypotheses, family_id)) if row[0] not in judged]
    read = _sample(related, max(MOST_TRIALS - len(judged), 0), seed)
    stored = _stored(connection, [*judged, *read])
    trials = tuple(_read(stored, evidence, rows))
    search = Search(
        trials,
        days_per_year([trial for trial in trials if trial.trial_id in judged]),
        tuple(judged),
        (len(judged) + len(related)) / (len(judged) + len(read)),
    )
    verdicts: dict[str, Verdict] = {}
    for thresholds in dict.fromkeys(trial.hypothesis.thresholds for trial in new):
        only = tuple(trial.trial_id for trial in new if trial.hypothesis.thresholds == thresholds)
        one = Search(search.trials, search.periods_per_year, only, search.standing_for)
        verdicts |= judge(one, look_no=look, thresholds=thresholds, seed=seed)
    _store(connection, family_id, look, verdicts)
    return verdicts


def _trials_of(connection: psycopg.Connection, family_id: str) -> list[_Stored]:
    ids = connection.execute("select trial_id from research.trials where family_id = %s", (family_id,)).fetchall()
    return _stored(connection, [trial_id for (trial_id,) in ids])


def _stored(connection: psycopg.Connection, trial_ids: Sequence[str]) -> list[_Stored]:
    return [_Stored(*row) for row in connection.execute(TRIALS, (list(trial_ids),)).fetchall()]


def _without_repeated(connection: psycopg.Connection, new: list[_Stored]) -> list[_Stored]:
    """The new trials but for those that are judged ones again; these get their verdict from them."""
    repeated: set[str] = set()
    for trial_id, other in connection.execute(TWINS, ([trial.trial_id for trial in new],)).fetchall():
        if trial_id not in repeated and scalar(
            connection.execute("select research.repeat_verdict(%s, %s)", (trial_id, other))
        ):
            repeated.add(trial_id)
    return [trial for trial in new if trial.trial_id not in repeated]


def _sample(related: list[str], most: int, seed: int) -> list[str]:
    if len(related) <= most:
        return related
    chosen = np.random.default_rng(seed).choice(len(related), most, replace=False)
    return [related[number] for number in sorted(chosen)]


def _read(stored: Sequence[_Stored], evidence: dict[str, DataEvidence], rows: int) -> Iterator[Trial]:
    """The trials with their paths, some at a time: what is read at once does not grow with what was tried."""
    step = max(1, BATCH_ROWS // max(rows, 1))
    for start in range(0, len(stored), step):
        batch = stored[start : start + step]
        paths = _paths([trial.trial_id for trial in batch])
        symbols = sorted({symbol for path in paths.values() for symbol in path["symbols"]})
        classes = dict(zip(*_columns(arrow("trainer", CLASSES, (symbols,)), "symbol", "asset_class"), strict=True))
        for trial in batch:
            path = paths[trial.trial_id]
            # what is not judged needs no evidence of its own
            sound = evidence.get(trial.run_id, DataEvidence(False, False))
            yield Trial(
                trial_id=trial.trial_id,
                asset_classes=tuple(classes.get(symbol, "") for symbol in path["symbols"]),
                max_weight=trial.max_weight,
                skill_in_sample=_number(trial.skill_in_sample),
                skill_out_of_sample=_number(trial.skill_out_of_sample),
                memorised=_number(trial.memorised),
                coverage=_coverage(trial.coverage, path["symbols"]),
                lookahead_audit_passed=sound.lookahead_audit_passed,
                data_tests_passed=sound.data_tests_passed,
                **path,
            )


def _paths(trial_ids: list[str]) -> dict[str, dict[str, Any]]:
    """By trial, as Trial takes them, and how many positions were traded on rows that were not ready."""
    table = arrow("trainer", PATHS, (trial_ids,))
    wide_names = ("position", "asset_return", "trade", "benchmark_return", "cost")
    names = ("bar_start", "fold", "is_unready", *wide_names)
    columns = {name: table.column(name).to_numpy() for name in names}
    symbol_column = table.column("symbol").combine_chunks().dictionary_encode()
    number, symbols = symbol_column.indices.to_numpy(), symbol_column.dictionary.to_pylist()
    ids, starts = _runs_of(table.column("trial_id"))
    paths = {}
    for trial_id, start, end in zip(ids, starts, [*starts[1:], table.num_rows], strict=True):
        part = {name: values[start:end] for name, values in columns.items()}
        held, column = np.unique(number[start:end], return_inverse=True)
        bars, row = np.unique(part["bar_start"], return_inverse=True)
        # a symbol without a row has 0 in both
        wide = np.zeros((len(wide_names), len(bars), len(held)))
        for place, name in enumerate(wide_names):
            wide[place, row, column] = part[name]
        fold = np.zeros(len(bars), dtype=int)
        fold[row] = part["fold"]
        paths[trial_id] = {
            "symbols": tuple(symbols[one] for one in held),
            "day": bars.astype("datetime64[D]"),
            "positions": wide[0],
            "asset_returns": wide[1],
            "turnover": np.abs(wide[2]).sum(axis=1),
            "benchmark": wide[3].sum(axis=1),
            "costs": wide[4].sum(axis=1),
            "fold": fold,
            "unready_rows": int((part["is_unready"] & (part["position"] != 0)).sum()),
        }
    return paths


def _columns(table: pyarrow.Table, *names: str) -> list[list[Any]]:
    return [table.column(name).to_pylist() for name in names]


def _runs_of(ordered: pyarrow.ChunkedArray) -> tuple[list[str], list[int]]:
    values = np.array(ordered.to_pylist(), dtype=object)
    starts = [0, *(np.flatnonzero(values[1:] != values[:-1]) + 1).tolist()] if len(values) else []
    return [values[start] for start in starts], starts


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
            "tail_cost": _finite(verdict.tail_cost),
            "tail_cost_years": _finite(verdict.tail_cost_years),
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


def _coverage(stored: dict[str, float | None] | None, symbols: Sequence[str]) -> tuple[float, ...] | None:
    return None if not stored else tuple(_number(stored.get(symbol)) for symbol in symbols)


def _finite(value: float | None) -> float | None:
    return float(value) if value is not None and math.isfinite(value) else None


def _number(value: float | None) -> float:
    return math.nan if value is None else value
