"""Whether models that decide now still read and predict what they were trained on: `results.drift` in sentences."""

from dataclasses import dataclass

from psycopg.rows import class_row

from warehouse.connection import connect

DRIFTS = """
    select
        model_id, max(bars) as bars, max(wanted_bars) as wanted_bars,
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

    `is_drifting` is of its scores, None while it has decided too few bars. `drifting_features` come the worst first.
    """

    model_id: str
    bars: int
    wanted_bars: int
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
