"""What trades, fitted anew on the bars that came since, and judged: a look like any other, of which nothing moves.

A model trades on as it is, whatever the look finds. Who passes again is a candidate, and a person puts it in the place
of the model that trades, or retires that one.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from psycopg.rows import class_row

from training.commit import register_passing
from training.hypothesis import Hypothesis
from training.look import judge_families
from training.told import verdict_of
from training.train import Run
from warehouse.connection import connect

TRADING = """
    select models.model_id, models.run_id, runs.data_watermark, hypotheses.source_file, hypotheses.content
    from research.models
    inner join research.runs using (run_id)
    inner join research.hypotheses on models.hypothesis_id = hypotheses.hypothesis_id
    cross join lateral (
        select states.state from research.model_states as states
        where states.model_id = models.model_id order by states.entered_at desc limit 1
    ) as newest
    where newest.state in ('paper', 'live')
    order by models.model_id
"""

VERDICTS = """
    select distinct on (verdicts.trial_id) verdicts.verdict, verdicts.look_no
    from research.verdicts
    inner join research.trials using (trial_id)
    where trials.run_id = %s
    order by verdicts.trial_id asc, verdicts.look_no desc
"""


@dataclass(frozen=True)
class Trading:
    """A model in paper or live: the run it comes of, which knew bars up to data_watermark (UTC), and its hypothesis."""

    model_id: str
    run_id: str
    data_watermark: datetime
    source_file: str
    content: dict[str, Any]

    @property
    def hypothesis(self) -> Hypothesis:
        """As it was registered, whatever its file says now."""
        return Hypothesis.model_validate({"description": "as it was stored", **self.content})

    @property
    def cannot(self) -> str | None:
        """Why there is nothing newer to fit it on, or None."""
        end = self.hypothesis.training.end
        if end is None:
            return None
        return (
            f"model {self.model_id} is not fitted anew: {self.source_file} ends its data at {end}; without "
            "`training.end` it takes the newest"
        )


@dataclass(frozen=True)
class Refitted:
    """What a look found of a model's refit: the verdicts of its trials, and who of them passed and waits, if any."""

    model: Trading
    run: Run
    verdicts: tuple[str, ...]
    successor: str | None
    told: str

    @property
    def is_new(self) -> bool:
        """False where no bar has come since: then nothing was tried."""
        return self.run.run_id != self.model.run_id

    @property
    def is_doubted(self) -> bool:
        """Whether none of its trials passes now, and not only for want of a longer record."""
        return self.is_new and bool(self.verdicts) and set(self.verdicts) == {"FAILED"}

    def __str__(self) -> str:
        name = self.model.model_id
        if not self.is_new:
            return f"model {name} is what its hypothesis makes of the newest bars: nothing to fit"
        if self.successor is not None:
            return (
                f"model {name} trades on, and {self.successor} has passed with the bars that came since: "
                f"`python -m models_registry promote {self.successor}` puts it in the place of {name}"
            )
        if self.is_doubted:
            return (
                f"model {name} trades on, and its hypothesis fails with the bars that came since: `python -m "
                f'models_registry retire {name} --reason "..."` ends it\n{self.told}'
            )
        return f"model {name} trades on\n{self.told}"


def trading() -> tuple[Trading, ...]:
    """All models in paper or live, by model_id."""
    with connect("analyst", read_only=True) as connection, connection.cursor(row_factory=class_row(Trading)) as cursor:
        return tuple(cursor.execute(TRADING).fetchall())


def judge_refits(runs: Sequence[tuple[Trading, Run]]) -> tuple[Refitted, ...]:
    """One look at all runs that are new, counted as any other; who passes is registered as a candidate.

    A run that is there already has its verdict, and spends nothing. Raises what a look raises.
    """
    new = [run for model, run in runs if run.run_id != model.run_id]
    if new:
        judge_families([run.family_id for run in new])
    return tuple(_refitted(model, run) for model, run in runs)


def _refitted(model: Trading, run: Run) -> Refitted:
    if run.run_id == model.run_id:
        return Refitted(model, run, (), None, "")
    record = register_passing(run.run_id)
    with connect("analyst", read_only=True) as connection:
        verdicts = tuple(verdict for verdict, _ in connection.execute(VERDICTS, (run.run_id,)).fetchall())
    told = verdict_of(run.run_id) or f"{run.experiment_id}: no verdict yet"
    return Refitted(model, run, verdicts, None if record is None else record.model_id, told)
