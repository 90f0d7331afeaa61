"""The ledger: what was decided, asked for and told, in PostgreSQL, append-only.

One session per account at a time: the ledger's connection claims it, and the claim goes with the process when it
dies. Times are UTC, quantities and money exact decimals. Every method is one transaction.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, fields
from datetime import datetime
from decimal import Decimal
from typing import Any, Self

import psycopg
from psycopg.types.json import Jsonb

from execution import bookings, marks, roster, withdrawals
from execution.adoption import Movement, moved_by
from execution.bookings import insert, insert_all
from execution.brokers.base import BrokerSnapshot, Fill, Mode
from execution.comparison import Comparison
from execution.findings import (
    AdoptedFill,
    Discrepancy,
    ForeignFill,
    MissingActivity,
    MissingFill,
    OrderMoved,
    as_json,
)
from execution.orders import Contradiction, Order, OrderStatus
from execution.presence import Purpose, enter
from execution.readings import Readings
from execution.records import Cross, Decision, Intent, LeftBehind, RefusedBar
from execution.validation.limits import Mark, Usage
from execution.withdrawals import Action, Withdrawal
from warehouse.connection import connect
from warehouse.errors import Stop
from warehouse.rows import one

_HALT = "select ledger.halt_account(%s, %s)"
_NOTE = "select ledger.note_reconciliation(%s, %s, %s, %s, %s, %s)"
_INSTRUCT = "select ledger.instruct_account(%s, %s, %s, %s)"


class Superseded(Stop):
    """The account was told something else since what a release answers: that stands."""


def _fields(record: Decision | Intent) -> dict[str, Any]:
    """The record's values by name, as they are: `asdict` would copy a hundred features one by one."""
    return {field.name: getattr(record, field.name) for field in fields(record)}


class Ledger(Readings):
    """One account's ledger. Use as a context manager, or close it."""

    @classmethod
    def open(
        cls,
        account_id: str,
        broker: str,
        mode: Mode,
        purpose: Purpose = Purpose.SESSION,
        models: Sequence[str] = (),
    ) -> Self:
        """Become the account's only session, and record the account when it is new. `models` are those it trades.

        Raises Occupied when another session has the account, Stop when it is known under another broker or mode.
        """
        ledger = cls.view(account_id)
        try:
            ledger._take(broker, mode, purpose, models)
        except Stop:
            ledger.close()
            raise
        return ledger

    @classmethod
    def view(cls, account_id: str) -> Self:
        """The ledger without the right to act for the account: for reading, and for the operator's halt and release."""
        ledger = cls(connect("executor", autocommit=True), account_id)
        with ledger._transaction() as cursor:
            # write-ahead is worth nothing if a crash of the server can forget it
            cursor.execute("set synchronous_commit = on")
        return ledger

    def _take(self, broker: str, mode: Mode, purpose: Purpose, models: Sequence[str]) -> None:
        with self._transaction() as cursor:
            enter(cursor.connection, self.account_id, purpose, models)
            cursor.execute(
                "insert into ledger.accounts (account_id, broker, mode) values (%s, %s, %s) on conflict do nothing",
                (self.account_id, broker, mode),
            )
            cursor.execute("select broker, mode from ledger.accounts where account_id = %s", (self.account_id,))
            known = one(cursor)
            if known != (broker, mode):
                raise Stop(
                    f"account {self.account_id} is recorded as {known[0]} {known[1]} and was opened as {broker} {mode}"
                )

    def close(self) -> None:
        self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # what is written

    def write_ahead(
        self, decisions: Iterable[Decision], intents: Iterable[Intent], crosses: Iterable[Cross] = ()
    ) -> None:
        """Record decisions, intents and, for approved ones, that they are about to be sent. Before anything is sent.

        What passes between shares passes with the decisions that want it: whoever is killed left all of it, or nothing.
        """
        told = [
            {"account_id": self.account_id, **_fields(decision)}
            | {"feature_names": list(decision.feature_names), "feature_values": list(decision.feature_values)}
            for decision in decisions
        ]
        written, sized, begun = [], [], []
        for intent in intents:
            values = {"account_id": self.account_id, **_fields(intent), "refusals": list(intent.refusals)}
            sizing, said = values.pop("sizing"), values.pop("verdicts")
            values |= {"order_type": "market", "verdict": "approved" if intent.is_approved else "refused"}
            written.append(values)
            name = {"client_order_id": intent.client_order_id}
            if sizing is not None:
                sized.append({**name, "inputs": Jsonb(sizing), "verdicts": Jsonb(said)})
            if intent.is_approved:
                begun.append({**name, "status": OrderStatus.SUBMITTING})
        if not (told or written):
            return
        with self._transaction() as cursor:
            insert_all(cursor, "decisions", told)
            insert_all(cursor, "intents", written)
            insert_all(cursor, "sizings", sized)
            insert_all(cursor, "order_events", begun)
            insert_all(cursor, "crosses", [{"account_id": self.account_id, **asdict(cross)} for cross in crosses])

    def mark(self, equity: Decimal | None, broker_time: datetime) -> Mark | None:
        """Record the account's equity if it changed; returns it with its peak and the day's start. See `marks`."""
        with self._transaction() as cursor:
            return marks.mark(cursor, self.account_id, equity, broker_time)

    def usage(self, broker_time: datetime) -> Usage:
        """The orders that count against limits at this moment of the broker's time; without positions and marks."""
        with self._transaction() as cursor:
            return marks.usage(cursor, self.account_id, broker_time)

    def record_refusals(self, refused: Iterable[RefusedBar], broker_time: datetime) -> None:
        """Record bars that were not decided; one that was refused for the same reasons before is not repeated."""
        with self._transaction() as cursor:
            for bar in refused:
                values = {"account_id": self.account_id, **asdict(bar), "reasons": list(bar.reasons)}
                cursor.execute(
                    """
                    select bar_start, reasons from ledger.refusals where account_id = %(account_id)s
                    and (model_id, symbol, timeframe) = (%(model_id)s, %(symbol)s, %(timeframe)s)
                    order by refusal_id desc limit 1
                    """,
                    values,
                )
                if cursor.fetchone() != (bar.bar_start, values["reasons"]):
                    insert(cursor, "refusals", broker_time=broker_time, **values)

    def hand_over(self, left: LeftBehind, successor: str, price: Decimal, broker_time: datetime, reason: str) -> None:
        """From now on the position is the successor's, which has it at this price."""
        values = asdict(left) | {"successor": successor, "price": price, "reason": reason}
        with self._transaction() as cursor:
            insert(
                cursor, "retirements", account_id=self.account_id, act="hand_over", broker_time=broker_time, **values
            )

    def closing_of(self, left: LeftBehind, broker_time: datetime, reason: str) -> tuple[int, int]:
        """The retirement that closes the position, recorded once, and which of its orders the next one is."""
        values = {**asdict(left), "account_id": self.account_id, "broker_time": broker_time, "reason": reason}
        with self._transaction() as cursor:
            cursor.execute(
                """
                select retirement_id,
                (select count(*) from ledger.intents where account_id = %(account_id)s and symbol = %(symbol)s
                  and retirement_id = retirements.retirement_id) as written
                from ledger.retirements
                where account_id = %(account_id)s and symbol = %(symbol)s and model_id = %(model_id)s
                and act = 'close' and noted_at >= ledger.epoch_start(account_id)
                """,
                values,
            )
            if (known := cursor.fetchone()) is not None:
                return known[0], 1 + known[1]
            cursor.execute(
                """
                insert into ledger.retirements (account_id, model_id, symbol, act, quantity, broker_time, reason)
                values (%(account_id)s, %(model_id)s, %(symbol)s, 'close', %(quantity)s, %(broker_time)s, %(reason)s)
                returning retirement_id
                """,
                values,
            )
            return int(one(cursor)[0]), 1

    def note_models(self, concerns: Mapping[str, str]) -> None:
        """Record what is wrong with models, by their ids; empty when nothing is any more."""
        with self._transaction() as cursor:
            roster.note(cursor, concerns)

    def record_order(
        self,
        order: Order,
        *,
        happened_at: datetime | None = None,
        detail: str = "",
        continued_as: tuple[str, ...] = (),
    ) -> None:
        """Record what is now known of an order, and the orders that replaced it at the broker.

        Raises Contradiction when the ledger holds what cannot be true beside it.
        """
        with self._transaction() if continued_as else self._statement() as cursor:
            self._insert_order(cursor, order, happened_at, detail)
            self._insert_continuations(cursor, order, continued_as, detail)

    def record_update(self, order: Order, fill: Fill | None, happened_at: datetime | None) -> None:
        """Record a pushed update: the order's new state and the execution that caused it, together.

        Raises Contradiction as `record_order` does.
        """
        with self._transaction() as cursor:
            if fill is not None:
                bookings.book_fill(cursor, self.account_id, order.client_order_id, fill)
            self._insert_order(cursor, order, happened_at, "")

    def record_reconciliation(
        self, comparison: Comparison, occasion: str, broker_time: datetime, broker: BrokerSnapshot
    ) -> None:
        """Record a comparison with its repairs; a discrepancy halts the account in the same transaction.

        `broker` is what it compared: it is a row of history where that, or how it ended, is not as it was.
        """
        findings = [*comparison.discrepancies, *comparison.repairs, *comparison.awaiting]
        with self._transaction() as cursor:
            for repair in comparison.repairs:
                match repair:
                    case MissingFill(client_order_id, fill):
                        bookings.book_fill(cursor, self.account_id, client_order_id, fill)
                    case AdoptedFill(fill):
                        reason = "its order or symbol was adopted"
                        bookings.book_adoption(cursor, self.account_id, ForeignFill.of(fill), moved_by(fill), reason)
                    case MissingActivity(activity):
                        bookings.book_activity(cursor, self.account_id, activity)
                    case OrderMoved(order, _, detail, continued_as):
                        self._insert_order(cursor, order, None, f"learned by reconciliation: {detail}")
                        self._insert_continuations(cursor, order, continued_as, detail)
            found = Jsonb([as_json(finding) for finding in findings])
            compared = Jsonb(broker.sums())
            cursor.execute(_NOTE, (self.account_id, occasion, broker_time, comparison.outcome, found, compared))
            is_halted = withdrawals.standing(cursor, self.account_id).halted_because is not None
            if comparison.outcome == "discrepancy" and not is_halted:
                more = len(comparison.discrepancies) - 1
                reason = f"{comparison.discrepancies[0]}" + (f" (and {more} more)" if more else "")
                cursor.execute(_HALT, (self.account_id, reason))

    def adopt(self, findings: Iterable[tuple[Discrepancy, tuple[Movement, ...]]], reason: str) -> None:
        """Book discrepancies that a person found right, each with the movements that make the sums agree."""
        with self._transaction() as cursor:
            for finding, moved in findings:
                bookings.book_adoption(cursor, self.account_id, finding, moved, reason)

    def hold_apart(self, symbols: Iterable[str], reason: str) -> None:
        """From now on these symbols are not ours: booked, not valued, not traded."""
        with self._transaction() as cursor:
            bookings.hold_apart(cursor, self.account_id, symbols, reason)

    def begin_epoch(self, broker: BrokerSnapshot, broker_time: datetime, reason: str, apart: Iterable[str]) -> None:
        """Begin anew with the cash and positions that the broker states; all that it lists was before.

        `broker` must reach back as far as any later comparison of this epoch will.
        """
        with self._transaction() as cursor:
            bookings.begin_epoch(cursor, self.account_id, broker, broker_time, reason)
            bookings.hold_apart(cursor, self.account_id, apart, reason)

    def act(self, action: Action, reason: str, answers: int | None = None) -> None:
        """Say what the account may do from now on. Whoever trades may halt; all else is an act of the operator.

        `answers` is the act that this one answers, 0 where there was none. A release needs it; another act without it
        holds whatever was said. Raises Superseded when another act came since.
        """
        if action is Action.HALT:
            with self._transaction() as cursor:
                cursor.execute(_HALT, (self.account_id, reason))
        else:
            with connect("operator") as connection:
                try:
                    connection.execute(_INSTRUCT, (self.account_id, str(action), reason, answers))
                except psycopg.errors.ObjectNotInPrerequisiteState as error:
                    raise Superseded(f"{error.diag.message_primary}") from None

    def halt(self, reason: str) -> None:
        """Stop trading the account until it is released; what is open is taken back."""
        self.act(Action.HALT, reason)

    def release(self, reason: str, answers: int | None = None) -> None:
        """Let the account trade again. An open discrepancy still refuses every order.

        `answers` is the act that is answered, the newest when not given. Raises Superseded when another came since.
        """
        self.act(Action.RELEASE, reason, self.standing().halt_id if answers is None else answers)

    def record_withdrawal(self, withdrawal: Withdrawal) -> None:
        """Write down that an order is taken back. Before the broker is asked."""
        with self._transaction() as cursor:
            withdrawals.record(cursor, withdrawal)

    def _insert_order(self, cursor: psycopg.Cursor, order: Order, happened_at: datetime | None, detail: str) -> None:
        try:
            insert(
                cursor,
                "order_events",
                client_order_id=order.client_order_id,
                status=order.status,
                broker_order_id=order.broker_order_id,
                filled_quantity=order.filled_quantity,
                happened_at=happened_at,
                detail=detail,
            )
        except psycopg.errors.CheckViolation as refused:
            raise Contradiction(str(refused.diag.message_primary)) from None

    def _insert_continuations(
        self, cursor: psycopg.Cursor, order: Order, continued_as: tuple[str, ...], reason: str
    ) -> None:
        for name in continued_as:
            values = {"broker_order_id": name, "client_order_id": order.client_order_id, "reason": reason}
            insert(cursor, "order_continuations", once=True, account_id=self.account_id, **values)
