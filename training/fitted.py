"""What an attempt at a run has fitted: kept as soon as it is, so that the next attempt fits only the rest."""

import io
import logging
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import psycopg
from psycopg.types.json import Jsonb

from training import trials
from training.backtest import FoldResult, Unfitted
from training.units import Do, HandOut, Unit
from training.versions import versions
from warehouse.connection import connect

log = logging.getLogger("truebar")

_Place = tuple[str, int, bool]
_ARRAYS = ("scores", "weights", "whole", "in_sample", "out_of_sample")


class Fitted:
    """The fits of one run on one device, of this and of earlier attempts with the same code and libraries.

    What cannot be fitted is not kept: it takes no fit to find that out again.
    """

    def __init__(self, connection: psycopg.Connection, run: str, device: str) -> None:
        """Read what earlier attempts have kept."""
        self._run, self._device, self._versions = run, device, Jsonb(versions())
        rows = connection.execute(
            """
            select trial_id, fold, is_control, result from research.fitted_folds
            where run_id = %s and device = %s and made_with = %s
            """,
            (run, device, self._versions),
        )
        self._stored: dict[_Place, bytes] = {(trial, fold, control): found for trial, fold, control, found in rows}
        self._kept = set(self._stored)

    def beside(self, others: HandOut) -> HandOut:
        """Hands out to `others` what is not kept, and keeps what they come to. What is kept comes first."""

        def hand_out(units: Sequence[Unit], do: Do) -> Iterator[tuple[Unit, Any]]:
            left = [unit for unit in units if _place(unit) not in self._stored]
            if len(left) < len(units):
                log.info("%d of %d fits are there from an earlier attempt", len(units) - len(left), len(units))
            for unit in units:
                if _place(unit) in self._stored:
                    yield unit, _read(unit, self._stored.pop(_place(unit)))
            # here as soon as it is fitted, and of another process when it comes
            for unit, result in others(left, lambda unit: self._keep(unit, do(unit))) if left else ():
                yield unit, self._keep(unit, result)

        return hand_out

    def clear(self, connection: psycopg.Connection) -> None:
        """Keep nothing of the run any more: its trials have all that came of it."""
        connection.execute("delete from research.fitted_folds where run_id = %s", (self._run,))

    def _keep(self, unit: Unit, result: Any) -> Any:
        if isinstance(result, Unfitted) or _place(unit) in self._kept:
            return result
        with connect("trainer") as connection:
            connection.execute(
                """
                insert into research.fitted_folds (run_id, trial_id, fold, is_control, device, made_with, result)
                values (%s, %s, %s, %s, %s, %s, %s) on conflict do nothing
                """,
                (self._run, *_place(unit), self._device, self._versions, _written(result)),
            )
            if isinstance(result, FoldResult) and result.choice is not None:
                trials.store_choice(connection, self._run, unit.trial, unit.fold, result.choice, self._device)
        self._kept.add(_place(unit))
        return result


def _place(unit: Unit) -> _Place:
    return unit.trial, unit.fold, unit.is_control


def _written(result: FoldResult | float | None) -> bytes:
    buffer = io.BytesIO()
    if isinstance(result, FoldResult):
        np.savez(buffer, **{name: getattr(result, name) for name in _ARRAYS})
    else:
        np.savez(buffer, gap=np.array(np.nan if result is None else result))
    return buffer.getvalue()


def _read(unit: Unit, stored: bytes) -> FoldResult | float | None:
    with np.load(io.BytesIO(stored), allow_pickle=False) as found:
        if not unit.is_control:
            scores, weights, whole, in_sample, out_of_sample = (found[name] for name in _ARRAYS)
            return FoldResult(scores, weights, whole, in_sample, out_of_sample, unit.choice)
        gap = float(found["gap"])
    return None if np.isnan(gap) else gap
