"""Whether models that decide now still read and predict what they were trained on: `results.drift` in sentences.

Each look at a model's scores is noted, and a rule may retire a model whose scores drifted in so many windows in a row
that share no bar.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from psycopg.rows import class_row

from models_registry import registry
from models_registry.registry import ModelRecord
from warehouse.connection import connect
from warehouse.errors import Stop
from warehouse.rows import scalar
from warehouse.turns import take_turn

# with fewer there would be no telling one bad week from a new market
LEAST_WINDOWS = 2

DRIFTS = """
    select
        model_id, max(bars) as bars, max(wanted_bars) as wanted_bars,
        min(first_bar) as first_bar, max(last_bar) as last_bar,
        max(psi) filter (where quantity = 'score') as score_psi,
        max(largest_psi_in_training) filter (where quantity = 'score') as largest_psi,
        bool_or(is_drifting) filter (where quantity = 'score') as is_drifting,
        count(*) filter (where quantity <> 'score') as features,
        coalesce(
            array_agg(quantity order by psi desc, quantity asc) filter (where is_drifting and quantity <> 'score'),
            array[]::text[]
        ) as drifting_features
    from results.drift
    group by model_id
    order by model_id
"""

_NAMED = 5


@dataclass(frozen=True)
class Drift:
    """One model: its population stability indexes over the newest bars that it decided, and what drifts.

    `first_bar` and `last_bar` are the oldest and the newest of these bars, in UTC. `is_drifting` is of its scores,
    None while it has decided too few bars. `drifting_features` come the worst first.
    """

    model_id: str
    bars: int
    wanted_bars: int
    first_bar: datetime | None
    last_bar: datetime | None
    score_psi: float | None
    largest_psi: float | None
    is_drifting: bool | None
    features: int
    drifting_features: list[str]

    def __str__(self) -> str:
        if self.is_drifting is None:
            few = f"{self.bars} of {self.wanted_bars} bars are decided" if self.bars < self.wanted_bars else ""
            return f"model {self.model_id}: {few or 'its training was too short'}, too few to compare its scores"
        verdict = "drifts: its scores are unlike" if self.is_drifting else "has scores like"
        return (
            f"model {self.model_id} {verdict} those it was judged on, over its newest {self.bars} bars (index "
            f"{self.score_psi:.2f}; up to {self.largest_psi:.2f} then){self._of_features()}"
        )

    def _of_features(self) -> str:
        found = self.drifting_features
        if not found:
            return ""
        more = f" and {len(found) - _NAMED} more" if len(found) > _NAMED else ""
        return f"; {len(found)} of its {self.features} features drift: {', '.join(found[:_NAMED])}{more}"


def drifts() -> tuple[Drift, ...]:
    """Of every model in shadow, paper or live that was registered with what it was trained on."""
    with connect("analyst", read_only=True) as connection, connection.cursor(row_factory=class_row(Drift)) as cursor:
        return tuple(cursor.execute(DRIFTS).fetchall())


def take_looks(found: Sequence[Drift], retire_after: int | None = None) -> tuple[ModelRecord, ...]:
    """Note a look at each model with enough bars, one per newest bar; returns the models that were retired.

    A model is retired when its scores drifted in the last `retire_after` windows that share no bar, and at every look
    since the oldest of these; never when it is None. Raises Stop for less than two windows.
    """
    if retire_after is not None and retire_after < LEAST_WINDOWS:
        raise Stop(
            f"a model is retired after {LEAST_WINDOWS} drifting windows in a row or more, and {retire_after} is less"
        )
    retired = []
    for one in found:
        if one.is_drifting is None:
            continue
        with connect("gate") as connection:
            take_turn(connection, f"model {one.model_id}")
            # a person may have retired it meanwhile
            if registry.states(connection)[one.model_id] not in ("shadow", "paper", "live"):
                continue
            is_retired = scalar(
                connection.execute(
                    "select research.record_drift_look(%s, %s, %s, %s, %s)",
                    (one.model_id, one.first_bar, one.last_bar, one.score_psi, retire_after),
                )
            )
        if is_retired:
            retired.append(registry.get(one.model_id, role="analyst"))
    return tuple(retired)
