"""What an account's ledger says: its open orders, halts and withdrawals, and when it last agreed with the broker.

Times are UTC, quantities and money exact decimals. Every method is one transaction.
"""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime
from decimal import Decimal
from typing import NamedTuple

import psycopg

from execution import aims, bookings, holding, withdrawals
from execution.account_statement import as_order, statement
from execution.brokers.base import BrokerSnapshot, Mode
from execution.comparison import LedgerSnapshot
from execution.concerns import concerns, halted
from execution.holding import Entry
from execution.orders import Side
from execution.records import DecidedBar, GivenUp, LeftBehind, OpenOrder
from execution.withdrawals import Standing, Withdrawal
from warehouse.errors import Retry
from warehouse.rows import one


class _Pulse(NamedTuple):
    """What is known of an account's reconciliations, in the broker's time; None before the first."""

    broker_time: datetime | None = None
    agreed: datetime | None = None
    awaiting_since: datetime | None = None


class Readings:
    """What is known of one account. Raises Retry when the database cannot be reached."""

    def __init__(self, connection: psycopg.Connection, account_id: str) -> None:
        self._connection = connection
        self.account_id = account_id

    def unsettled(self) -> tuple[OpenOrder, ...]:
        """Approved orders that have not ended or whose fills are incomplete, oldest first."""
        with self._statement() as cursor:
            cursor.execute(
                """
                select orders.client_order_id, orders.symbol, orders.side, orders.quantity, orders.status,
                orders.broker_order_id, orders.reported_quantity, decisions.model_id, decisions.bar_start,
                decisions.bar_end, orders.asked_at, intents.reference_price, orders.filled_quantity,
                decisions.feature_values, orders.halt_id,
                exists (select from ledger.cancellations
                  where cancellations.client_order_id = orders.client_order_id) as is_withdrawn,
                orders.retirement_id, intents.time_in_force
                from ledger.orders inner join ledger.intents using (client_order_id)
                left join ledger.decisions on decisions.decision_id = orders.decision_id
                where orders.account_id = %s and not orders.is_settled
                and orders.written_at >= ledger.epoch_start(orders.account_id)
                order by orders.written_at, orders.client_order_id
                """,
                (self.account_id,),
            )
            return tuple(
                OpenOrder(replace(as_order(row[:7]), time_in_force=row[-1]), *row[7:-1]) for row in cursor.fetchall()
            )

    def given_up(self, after: datetime) -> tuple[GivenUp, ...]:
        """Orders that were given up after this moment of the broker's time and have not turned up since."""
        with self._statement() as cursor:
            cursor.execute(
                """
                select client_order_id, symbol, side, happened_at from ledger.orders
                where account_id = %s and status = 'not_sent' and happened_at > %s
                and written_at >= ledger.epoch_start(account_id)
                """,
                (self.account_id, after),
            )
            return tuple(GivenUp(name, symbol, Side(side), at) for name, symbol, side, at in cursor)

    def attempts(self, bars: Iterable[tuple[str, str, datetime]]) -> dict[tuple[str, str], tuple[int, bool]]:
        """By (model, symbol) how often the bar was decided, and whether it may be decided again; see `withdrawals`."""
        with self._transaction() as cursor:
            return withdrawals.attempts(cursor, self.account_id, list(bars))

    def unordered(self, bars: Iterable[tuple[str, str, datetime]]) -> dict[tuple[str, str], DecidedBar]:
        """By (model, symbol) what the newest decision of the bar saw, where no order followed; see `withdrawals`."""
        with self._statement() as cursor:
            return withdrawals.unordered(cursor, self.account_id, list(bars))

    def aimed_at(self, bars: Iterable[tuple[str, str, datetime]]) -> dict[tuple[str, str], float]:
        """By (model, symbol) what the position was last traded to, before the bar; see `aims`."""
        with self._transaction() as cursor:
            return aims.aimed_at(cursor, self.account_id, list(bars))

    def entries(self, bars: Mapping[tuple[str, str], datetime]) -> dict[tuple[str, str], Entry]:
        """By (model, symbol) what is known of a position's beginning, before the bar; see `holding`."""
        with self._transaction() as cursor:
            return holding.entries(cursor, self.account_id, bars)

    def snapshot(self, broker: BrokerSnapshot, since: datetime | None) -> LedgerSnapshot:
        """The ledger's side of a comparison: everything after `since` (None: ever) and all that `broker` mentions."""
        with self._transaction() as cursor:
            return statement(cursor, self.account_id, broker, since)

    def is_new(self) -> bool:
        """Whether the account was never compared with the broker, and no epoch of it has begun."""
        with self._transaction() as cursor:
            cursor.execute(
                """
                select not exists (select from ledger.reconciliation_pulse where account_id = %(account)s)
                and not exists (select from ledger.epochs where account_id = %(account)s)
                """,
                {"account": self.account_id},
            )
            return bool(one(cursor)[0])

    def broker(self) -> str:
        """The name of the broker that the account is at."""
        with self._transaction() as cursor:
            cursor.execute("select broker from ledger.accounts where account_id = %s", (self.account_id,))
            return str(one(cursor)[0])

    def last_agreement(self) -> datetime | None:
        """Broker time of the newest reconciliation that left nothing unexplained; None before the epoch's first."""
        return self._pulse().agreed

    def awaiting_since(self) -> datetime | None:
        """Broker time since which reconciliations have been awaiting the broker; None when the newest was not."""
        return self._pulse().awaiting_since

    def newest_broker_time(self) -> datetime | None:
        """The latest that the broker's clock told at a reconciliation."""
        return self._pulse().broker_time

    def _pulse(self) -> "_Pulse":
        with self._statement() as cursor:
            cursor.execute(
                """
                select broker_time,
                case when agreed_at >= ledger.epoch_start(account_id) then agreed_broker_time end as agreed,
                awaiting_since
                from ledger.reconciliation_pulse where account_id = %s
                """,
                (self.account_id,),
            )
            row = cursor.fetchone()
        return _Pulse(*row) if row else _Pulse()

    def epoch_began(self) -> datetime | None:
        """Broker time at which the account's epoch began; None while it reaches back to the account's beginning."""
        with self._statement() as cursor:
            cursor.execute(
                "select broker_time from ledger.epochs where account_id = %s order by epoch_no desc limit 1",
                (self.account_id,),
            )
            newest = cursor.fetchone()
        return newest[0] if newest else None

    def apart(self) -> frozenset[str]:
        """Symbols that the account holds and that are not ours."""
        with self._statement() as cursor:
            return bookings.adopted(cursor, self.account_id).apart

    def splits_since(self, ends: Mapping[str, datetime]) -> dict[str, tuple[Decimal, Decimal]]:
        """By symbol the units, signed, that splits after its moment added to the position, and what was traded since.

        Symbols without such a split are left out.
        """
        with self._statement() as cursor:
            cursor.execute(
                """
                select symbol, sum(quantity),
                (select coalesce(sum(case side when 'buy' then fills.quantity else -fills.quantity end), 0)
                  from ledger.fills where fills.account_id = %(account)s and fills.symbol = splits.symbol
                  and filled_at >= min(happened_at)) as traded
                from ledger.activities as splits
                inner join unnest(%(symbols)s::text[], %(ends)s::timestamptz[]) as newest (symbol, bar_end)
                  using (symbol)
                where account_id = %(account)s and kind = 'split' and happened_at > bar_end
                and recorded_at >= ledger.epoch_start(account_id)
                group by symbol
                """,
                {"account": self.account_id, "symbols": list(ends), "ends": list(ends.values())},
            )
            return {symbol: (added, traded) for symbol, added, traded in cursor}

    def newest_event(self) -> int:
        """The id of the newest thing that was recorded of any order; later ones are greater."""
        with self._statement() as cursor:
            cursor.execute("select coalesce(max(event_id), 0) from ledger.order_events")
            return int(one(cursor)[0])

    def halts(self) -> tuple[str, ...]:
        """Why the account is halted and the way out, in one sentence; empty when it is not."""
        with self._transaction() as cursor:
            return tuple(halted(cursor.connection, self.account_id))

    def concerns(self, after: int) -> tuple[str, ...]:
        """What a person should hear; orders that ended short are those told of after the event `after`."""
        with self._transaction() as cursor:
            return concerns(cursor.connection, self.account_id, after)

    def standing(self) -> Standing:
        """What the account may do now."""
        with self._statement() as cursor:
            return withdrawals.standing(cursor, self.account_id)

    def withdrawals(self) -> tuple[Withdrawal, ...]:
        """Orders that are to be taken back and have not ended."""
        with self._statement() as cursor:
            return withdrawals.due(cursor, self.account_id)

    def ended(self, name: str) -> str | None:
        """In a sentence, how the order with this id, or the newest of this symbol, ended; None when there is none."""
        with self._transaction() as cursor:
            cursor.execute(
                """
                select format('%%s %%s %%s ended %%s with %%s filled', side, trim_scale(quantity), symbol, status,
                  trim_scale(filled_quantity))
                from ledger.orders where account_id = %s and %s in (client_order_id, broker_order_id, symbol)
                order by written_at desc limit 1
                """,
                (self.account_id, name),
            )
            row = cursor.fetchone()
        return row[0] if row else None

    def mode(self) -> Mode:
        """The mode that the account was recorded in."""
        with self._transaction() as cursor:
            cursor.execute("select mode from ledger.accounts where account_id = %s", (self.account_id,))
            return Mode(one(cursor)[0])

    def closings(self, halt_id: int, symbol: str) -> int:
        """How many orders this flattening has written for the symbol."""
        with self._transaction() as cursor:
            return withdrawals.closings(cursor, halt_id, symbol)

    def closing_refused(self, symbol: str, now: datetime, halt_id: int | None = None) -> str | None:
        """In words, that the broker refused the newest order that closes the symbol, less than an hour ago.

        It is one of the flattening `halt_id`, or of a retirement. `now` is the broker's time.
        """
        with self._transaction() as cursor:
            return withdrawals.closing_refused(cursor, self.account_id, symbol, now, halt_id)

    def shares(self) -> dict[str, dict[str | None, Decimal]]:
        """By symbol and model what each holds or has held of the position; None is what no model holds."""
        with self._statement() as cursor:
            cursor.execute(
                "select symbol, model_id, amount from ledger.shares where account_id = %s", (self.account_id,)
            )
            found: dict[str, dict[str | None, Decimal]] = {}
            for symbol, model_id, amount in cursor:
                found.setdefault(symbol, {})[model_id] = amount
            return found

    def left_behind(self) -> tuple[LeftBehind, ...]:
        """What retired models hold and is ours to trade, by symbol and model."""
        with self._statement() as cursor:
            cursor.execute(
                "select symbol, quantity, model_id, successor from ledger.left_behind where account_id = %s"
                " order by symbol, model_id",
                (self.account_id,),
            )
            return tuple(LeftBehind(*row) for row in cursor)

    def heirs(self, left: LeftBehind) -> tuple[str, ...]:
        """Models that took the retired one's place, whether or not in the state that this account asks for."""
        with self._statement() as cursor:
            cursor.execute("select * from ledger.heirs(%s, %s, %s)", (self.account_id, left.symbol, left.model_id))
            return tuple(row[0] for row in cursor)

    @contextmanager
    def _transaction(self) -> Iterator[psycopg.Cursor]:
        with self._statement() as cursor, self._connection.transaction():
            yield cursor

    @contextmanager
    def _statement(self) -> Iterator[psycopg.Cursor]:
        """For single statements: each is a transaction by itself, and takes one turn to the server instead of three."""
        try:
            with self._connection.cursor() as cursor:
                yield cursor
        except psycopg.OperationalError as error:
            reason = str(error).strip().splitlines()[-1]
            raise Retry(
                f"the ledger's database cannot be reached ({reason}): nothing is sent until it is back"
            ) from None
