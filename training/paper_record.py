"""Whether what models made on paper contradicts their backtests: `results.expected_returns` at days fixed before.

Of daily bars only, as that relation is. The k-th look may retire a model that is as good as its record with a
probability of 0.05 / (k (k + 1)), which is one model in twenty however long they trade.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

from psycopg.rows import class_row

from models_registry import registry
from models_registry.registry import ModelRecord
from warehouse.connection import connect
from warehouse.rows import scalar
from warehouse.turns import take_turn

# days of a record at which it is looked at: a quarter of an exchange's year, and each time as long again
DAYS = (63, 126, 252, 504, 1008, 2016)
# what the band of results.expected_returns is wide to each side, in standard deviations
_BAND = 1.96
# logarithms are taken of no less, where all is lost
_LEAST = 1e-9

RECORDS = """
    select
        model_id, day, counted_days::integer, realised::float8, expected::float8, band_low::float8
    from results.expected_returns
    where model_state in ('paper', 'live') and counted_days = any(%s)
    order by model_id, counted_days
"""


@dataclass(frozen=True)
class PaperRecord:
    """What a model's decisions made up to a day, compounded fractions, and what its trial lets one expect."""

    model_id: str
    day: date
    counted_days: int
    realised: float
    expected: float
    band_low: float

    @property
    def shortfall(self) -> float | None:
        """Standard deviations that it made less than expected; None of a trial whose returns never differed."""
        made, expected, low = (
            math.log(max(1 + value, _LEAST)) for value in (self.realised, self.expected, self.band_low)
        )
        return (expected - made) / (expected - low) * _BAND if low < expected else None


def paper_records() -> tuple[PaperRecord, ...]:
    """Of every model in paper or live, at each of the days that it has reached."""
    with (
        connect("analyst", read_only=True) as connection,
        connection.cursor(row_factory=class_row(PaperRecord)) as cursor,
    ):
        return tuple(cursor.execute(RECORDS, (list(DAYS),)).fetchall())


def take_looks(found: Sequence[PaperRecord], *, retires: bool = False) -> tuple[ModelRecord, ...]:
    """Note each record once; with `retires` a model is retired whose newest look contradicts its backtest.

    Returns the models that were retired.
    """
    newest = {one.model_id: one for one in found}
    retired = []
    for one in found:
        if one.shortfall is None:
            continue
        with connect("gate") as connection:
            take_turn(connection, f"model {one.model_id}")
            # a look before this one, or a person, may have retired it
            if registry.states(connection)[one.model_id] not in ("paper", "live"):
                continue
            asked = (one.model_id, one.day, one.counted_days, one.shortfall, retires and one is newest[one.model_id])
            is_retired = scalar(connection.execute("select research.record_paper_look(%s, %s, %s, %s, %s)", asked))
        if is_retired:
            retired.append(registry.get(one.model_id, role="analyst"))
    return tuple(retired)
