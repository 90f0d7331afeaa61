"""Symbols one after the other: whatever befalls one keeps no other out."""

from collections.abc import Callable, Sequence

import psycopg

from loaders.client.base import UnknownFormat
from loaders.client.refusals import Refusals, Refused
from loaders.history.progress import Progress
from loaders.raw.instruments import Instrument
from loaders.raw.landing import Landed
from warehouse.errors import OperatorError, Retry, Skip


class Turns:
    """Every symbol has its turn, whatever befalls the one before it."""

    def __init__(self, connection: psycopg.Connection, progress: Progress) -> None:
        self._connection = connection
        self._progress = progress
        self._failed: list[OperatorError] = []
        self._skipped: list[Skip] = []
        self._served = False

    def take(self, instruments: Sequence[Instrument], work: Callable[[Instrument], Landed], what: str) -> Landed:
        """The sum of what was landed. Raises what two symbols in a row fail with: then the vendor fails, not they.

        Of refusals it raises the second in the same words, and whatever is about no symbol.
        """
        total, has_failed, refusals = Landed(0, 0), False, Refusals()
        for instrument in instruments:
            try:
                landed = work(instrument)
            except Skip as error:
                self._connection.rollback()
                self._progress(f"{instrument.symbol}: left out: {error}")
                self._skipped.append(error)
                continue
            except Refused as error:
                self._connection.rollback()
                self._failed.append(error)
                refusals.add(error, instrument.vendor_symbol)
                self._progress(f"{instrument.symbol}: refused, the others go on: {error}")
                continue
            except (Retry, UnknownFormat) as error:
                self._connection.rollback()
                self._failed.append(error)
                if has_failed:
                    raise self._failed[0] from None
                has_failed = True
                self._progress(f"{instrument.symbol}: failed, the others go on: {error}")
                continue
            has_failed, self._served = False, True
            if landed.received:
                # of others nothing was asked, or nothing came
                refusals.served()
            if landed.landed:
                self._progress(f"{instrument.symbol}: {landed.landed} {what} landed")
            total += landed
        return total

    def end(self) -> None:
        """Raises the first failure, or why no symbol could be served."""
        if self._failed:
            raise self._failed[0]
        if self._skipped and not self._served:
            raise self._skipped[0]
