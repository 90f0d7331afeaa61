"""What a person is told of a run that was judged: its best trial's verdict, what decided it, and what to type next."""

from dataclasses import dataclass

from psycopg.rows import class_row

from warehouse.connection import connect

# Of trials that passed, and of those whose record is too short, the one with the largest shrunk Sharpe ratio; of others
# the one that fails the fewest checks.
BEST = """
    select
        hypotheses.experiment_id, hypotheses.source_file, trials.trial_id, trials.trial_no, newest.verdict,
        count(*) over ()::integer as trials,
        array(
            select checks.explanation
            from research.gate_checks as checks
            where
                checks.trial_id = newest.trial_id and checks.look_no = newest.look_no
                and checks.outcome = case newest.verdict when 'FAILED' then 'failed' else 'undecided' end
            order by checks.tier, checks.check_name
        ) as reasons,
        coalesce((
            select states.state
            from research.models
            inner join research.model_states as states using (model_id)
            where models.run_id = trials.run_id
            order by states.entered_at desc
            limit 1
        ), 'none') as state
    from research.trials
    inner join research.hypotheses using (hypothesis_id)
    cross join lateral (
        select verdicts.trial_id, verdicts.look_no, verdicts.verdict, verdicts.shrunk_sharpe
        from research.verdicts
        where verdicts.trial_id = trials.trial_id
        order by verdicts.look_no desc
        limit 1
    ) as newest
    cross join lateral (
        select count(*) as failures
        from research.gate_checks as checks
        where
            checks.trial_id = newest.trial_id and checks.look_no = newest.look_no and checks.outcome = 'failed'
    ) as failed
    where trials.run_id = %s
    order by
        newest.verdict = 'PASSED' desc, newest.verdict = 'INSUFFICIENT_EVIDENCE' desc, failed.failures asc,
        newest.shrunk_sharpe desc nulls last, trials.trial_no asc
    limit 1
"""


_EVERY_CHECK = "select check_name, value, threshold, outcome from results.gate_report where trial_id = %s"


@dataclass(frozen=True)
class _Best:
    experiment_id: str
    source_file: str
    trial_id: str
    trial_no: int
    verdict: str
    trials: int
    reasons: list[str]
    state: str

    @property
    def next_command(self) -> str:
        """What leads on from here."""
        match self.verdict, self.state:
            case "PASSED", "paper" | "live":
                return "`python -m flows paper-trade` lets its model trade on paper"
            case "PASSED", _:
                return "`python -m models_registry list` says what became of its model"
            case "INSUFFICIENT_EVIDENCE", "shadow":
                return (
                    "`python -m flows shadow` lets its model decide what has landed, and takes the looks that are due"
                )
            case "INSUFFICIENT_EVIDENCE", _:
                return (
                    f'`python -m training shadow {self.source_file} --reason "..."` lets its model decide every bar '
                    "and order nothing, which is evidence too"
                )
        every_check = _EVERY_CHECK % f"'{self.trial_id}'"
        return f'`python -m warehouse psql -c "{every_check}"` shows every check'


def verdict_of(run_id: str) -> str | None:
    """Lines about the best trial of a run: verdict, each check that decided it and what would have passed, and what to
    type next. None where no trial has a verdict yet."""
    with connect("analyst", read_only=True) as connection, connection.cursor(row_factory=class_row(_Best)) as cursor:
        best = cursor.execute(BEST, (run_id,)).fetchone()
    if best is None:
        return None
    which = f"trial {best.trial_no}, the best of {best.trials}" if best.trials > 1 else "its trial"
    lines = [f"{best.experiment_id}: {best.verdict}, {which}", *(f"  {reason}" for reason in best.reasons)]
    return "\n".join([*lines, f"  next: {best.next_command}"])
