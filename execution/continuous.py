"""A session that goes on: it decides when bars land, follows its orders, and ends when it is asked to.

It is woken by what every landing notifies, not by asking again and again. Only what nobody notifies, such as a halt by
a person, waits for the next look around. State is the ledger's: whatever ends it, the next one continues in the middle
of a bar. At an end that was asked for, orders stay as they are.
"""

import json
import time
from collections.abc import Callable, Collection
from contextlib import suppress
from typing import Self

import psycopg

from execution.session import Session, Step
from warehouse.connection import connect
from warehouse.errors import Retry

Tell = Callable[[str], None]

_CHANNEL = "landings"
_SLICE_SECONDS = 0.5
# of one transaction all come together; another one's that came meanwhile are seen by the decision that follows
_BURST_SECONDS = 0.002
SHORTLY_SECONDS = 2.0
LOOK_AROUND_SECONDS = 60.0
SETTLE_SECONDS = 10.0


_NAMES = """
select upper(vendor_symbol) from reference.vendor_symbols
where symbol = any(%s) or symbol in (select benchmark from reference.benchmarks)
"""


class Landings:
    """Waits for rows that land in raw. Use as a context manager. Raises Retry when the database is gone."""

    def __init__(self, connection: psycopg.Connection, symbols: Collection[str] | None) -> None:
        self._connection = connection
        self._symbols = symbols
        # what vendors call the symbols; None while that is not known: then every landing is heard
        self._names: frozenset[str] | None = None

    @classmethod
    def listen(cls, symbols: Collection[str] | None = None) -> Self:
        """From now on nothing that lands of these symbols, or of a benchmark, goes unheard; of any symbol without them.

        A name that a vendor gives one of them meanwhile is known once a wait has passed in silence.
        """
        connection = connect("executor", autocommit=True)
        connection.execute(f"listen {_CHANNEL}")
        landings = cls(connection, symbols)
        landings._read_names()
        return landings

    def wait(self, seconds: float, is_over: Callable[[], bool]) -> bool:
        """Whether something landed within so many seconds, or since the last call. What lands together counts once.

        Ends early when `is_over` says so.
        """
        deadline = time.monotonic() + seconds
        try:
            while not is_over() and (left := deadline - time.monotonic()) > 0:
                heard = self._connection.notifies(timeout=min(left, _SLICE_SECONDS), stop_after=1)
                if any([self._concerns(landing.payload) for landing in heard]):
                    # one transaction lands many symbols, and tells of each
                    for _ in self._connection.notifies(timeout=_BURST_SECONDS):
                        pass
                    return True
            self._read_names()
        except psycopg.OperationalError as error:
            raise Retry(f"the warehouse is gone: {str(error).strip().splitlines()[-1]}") from None
        return False

    def _concerns(self, payload: str) -> bool:
        """Whether what landed is of one of the symbols, as far as that is told."""
        name = json.loads(payload).get("vendor_symbol")
        return self._names is None or name is None or name.upper() in self._names

    def _read_names(self) -> None:
        if self._symbols is None:
            return
        # a warehouse without seeds is refused by whoever trades on it
        with suppress(psycopg.errors.UndefinedTable):
            rows = self._connection.execute(_NAMES, (list(self._symbols),)).fetchall()
            self._names = frozenset(name for [name] in rows)

    def close(self) -> None:
        self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def go_on(
    session: Session,
    landings: Landings,
    is_over: Callable[[], bool],
    tell: Tell,
    look_around: float = LOOK_AROUND_SECONDS,
) -> None:
    """Decide, settle and wait until `is_over`, which is asked twice a second.

    What may pass is told and tried again at the next landing; Stop is raised. So is Retry when the warehouse itself is
    gone: the session's own connections went with it.
    """
    refused: dict[tuple[str, str], tuple[str, ...]] = {}
    left_behind: tuple[str, ...] = ()
    while not is_over():
        is_postponed = False
        try:
            step = session.decide(waits=True)
            is_postponed = any(bar.is_postponed or bar.keeps_position for bar in step.refused)
            for line in _in_words(step):
                tell(line)
            # a reason is told when it begins and when it ends, and not at every landing
            now = {(bar.model_id, bar.symbol): bar.reasons for bar in step.refused}
            for (model_id, symbol), reasons in now.items():
                if refused.get((model_id, symbol)) != reasons:
                    tell(f"{symbol} is not decided by {model_id}: {'; '.join(reasons)}")
            decided = {(one.model_id, one.symbol) for one in step.decisions}
            for model_id, symbol in sorted(refused.keys() & decided):
                tell(f"{symbol} is decided by {model_id} again")
            # an account that is flattened decides nothing
            refused = {pair: reasons for pair, reasons in refused.items() if pair not in decided} | now
            for line in session.left_behind():
                if line not in left_behind:
                    tell(line)
            left_behind = session.left_behind()
            left = session.settle(SETTLE_SECONDS) if step.sent or session.is_unanswered() else ()
            if step.sent:
                # compared now, while no bar waits: the next decision then finds that nothing has moved since
                session.reconcile("continuous")
            for entry in left:
                tell(f"{entry.order.side} {entry.order.quantity} {entry.order.symbol} is {entry.order.status}")
            for concern in session.halts():
                tell(concern)
        except Retry as failure:
            tell(str(failure))
        is_short = session.is_unanswered() or is_postponed
        landings.wait(SHORTLY_SECONDS if is_short else look_around, is_over)


def _in_words(step: Step) -> list[str]:
    sent = [f"{order.side} {order.quantity} {order.symbol}: {order.status}" for order in step.sent]
    refused = [
        f"{intent.side} {intent.quantity} {intent.symbol} is not sent: {'; '.join(intent.refusals)}"
        for intent in step.intents
        if not intent.is_approved
    ]
    crossed = [f"{words} passes without an order" for words in step.passed()]
    return [*crossed, *sent, *refused, *map(str, step.failures)]
