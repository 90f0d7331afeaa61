"""Models in the shadow whose features are computed otherwise now than they were trained on: they can take no look.

Whoever changed a feature by mistake takes it back, and the model goes on. What stays changed was meant, and retires it.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

from psycopg.rows import class_row

from warehouse.connection import connect
from warehouse.rows import scalar
from warehouse.turns import take_turn

# days in which a change can be taken back
DAYS = 10

REDEFINED = """
    select
        models.model_id, hypotheses.experiment_id, array_agg(used.feature order by used.feature) as features,
        min(research.redefined_since(models.model_id, used.feature)) as since,
        1 + (
            select count(*)::integer from research.forward_looks as looks where looks.model_id = models.model_id
        ) as look_no
    from research.models
    inner join research.hypotheses using (hypothesis_id)
    inner join research.trials using (trial_id)
    inner join research.runs on models.run_id = runs.run_id
    inner join research.families on runs.family_id = families.family_id
    cross join lateral (
        select states.state from research.model_states as states
        where states.model_id = models.model_id order by states.entered_at desc limit 1
    ) as newest
    cross join lateral unnest(
        coalesce(trials.features, array(select jsonb_object_keys(runs.feature_fingerprints)))
    ) as used (feature)
    left join features.catalog as catalog
        on families.timeframe = catalog.timeframe and used.feature = catalog.feature
    where
        newest.state = 'shadow'
        and catalog.fingerprint is distinct from (runs.feature_fingerprints ->> used.feature)
    group by models.model_id, hypotheses.experiment_id
    order by models.model_id
"""


@dataclass(frozen=True)
class Redefined:
    """A model, which of its features are not what they were, and since when an audit knows; `look_no` is its next."""

    model_id: str
    experiment_id: str
    features: list[str]
    since: datetime | None
    look_no: int

    @property
    def words(self) -> str:
        """What a person is told while the change can be taken back."""
        since = "the newest build" if self.since is None else f"{self.since:%F}"
        until = "" if self.since is None else f" by {self.since + timedelta(days=DAYS):%F}"
        return (
            f"{', '.join(self.features)} is computed otherwise than it was trained on since {since}, or gone, so it "
            f"decides nothing: restore the SQL{until} and it goes on, or train {self.experiment_id} anew; after "
            f"{DAYS} days it is retired"
        )


def redefined() -> tuple[Redefined, ...]:
    """All of them, by model_id."""
    with (
        connect("analyst", read_only=True) as connection,
        connection.cursor(row_factory=class_row(Redefined)) as cursor,
    ):
        return tuple(cursor.execute(REDEFINED).fetchall())


def retire(one: Redefined) -> bool:
    """Retire a model whose features an audit found changed DAYS ago; False while that can be taken back."""
    with connect("gate") as connection:
        take_turn(connection, f"model {one.model_id}")
        asked = (one.model_id, one.features, DAYS)
        return bool(scalar(connection.execute("select research.retire_redefined(%s, %s, %s)", asked)))
