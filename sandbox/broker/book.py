"""The book: what really happened at the stand-in broker, in one SQLite file that survives the process being killed.

One process writes it. Every change is a transaction that also carries the clock, so after a SIGKILL the book stands at
an instant and holds everything that was due by then and nothing later. (Write-ahead logging without an fsync per
commit: a power cut may lose the last instants, never half of one.) Quantities and money are decimal texts.
"""

import fcntl
import os
import sqlite3
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, fields, replace
from decimal import Decimal
from pathlib import Path
from typing import TypeVar

from sandbox.broker.orders import Order
from sandbox.broker.records import Activity, Entitlement, Position
from sandbox.broker.spot_records import Balance, SpotOrder, SpotTrade
from sandbox.errors import SandboxError

Row = TypeVar("Row")
VERSION = 3
SCHEMA = """
create table account (
    id text not null,
    created_at integer not null,
    clock integer not null,
    cash text not null,
    last_equity text not null
) strict;
create table orders (
    number integer primary key,
    order_id text not null unique,
    client_order_id text not null unique,
    symbol text not null,
    side text not null,
    type text not null,
    time_in_force text not null,
    qty text,
    notional text,
    limit_price text,
    extended_hours integer not null,
    status text not null,
    submitted_at integer not null,
    updated_at integer not null,
    expires_at integer,
    filled_qty text not null,
    filled_avg_price text,
    filled_at integer,
    canceled_at integer,
    expired_at integer,
    replaced_at integer,
    replaced_by text,
    replaces text
) strict;
create index open_orders on orders (status, number);
create table positions (symbol text primary key, qty text not null, cost text not null) strict;
create table activities (
    number integer primary key,
    activity_id text not null unique,
    kind text not null,
    happened_at integer not null,
    symbol text,
    qty text,
    price text,
    per_share text,
    cash text not null,
    order_id text,
    side text,
    description text not null,
    cum_qty text,
    leaves_qty text
) strict;
create index activities_by_kind on activities (kind, happened_at);
create table entitlements (
    symbol text not null, ex_at integer not null, paid_at integer not null, qty text not null, per_share text not null
) strict;
"""
# what version 3 has more than version 2
SPOT_SCHEMA = """
create table spot_balances (asset text primary key, free text not null, locked text not null) strict;
create table spot_orders (
    symbol text not null,
    number integer not null,
    client_id text not null,
    side text not null,
    kind text not null,
    time_in_force text not null,
    quantity text not null,
    price text not null,
    taken_at integer not null,
    updated_at integer not null,
    status text not null,
    filled text not null,
    quote text not null,
    primary key (symbol, number)
) strict;
create table spot_trades (
    symbol text not null,
    number integer not null,
    order_number integer not null,
    side text not null,
    price text not null,
    quantity text not null,
    fee text not null,
    fee_asset text not null,
    at integer not null,
    is_maker integer not null,
    primary key (symbol, number)
) strict;
"""
INSERT_ORDER = """
insert into orders values (
    :number, :order_id, :client_order_id, :symbol, :side, :type, :time_in_force, :qty, :notional, :limit_price,
    :extended_hours, :status, :submitted_at, :updated_at, :expires_at, :filled_qty, :filled_avg_price, :filled_at,
    :canceled_at, :expired_at, :replaced_at, :replaced_by, :replaces
)"""
INSERT_ACTIVITY = """
insert into activities values (
    :number, :activity_id, :kind, :happened_at, :symbol, :qty, :price, :per_share, :cash, :order_id, :side,
    :description, :cum_qty, :leaves_qty
)"""
# an order that changes keeps its place among the others
PUT_SPOT_ORDER = """
insert into spot_orders values (
    :symbol, :number, :client_id, :side, :kind, :time_in_force, :quantity, :price, :taken_at, :updated_at, :status,
    :filled, :quote
) on conflict (symbol, number) do update
set updated_at = excluded.updated_at, status = excluded.status, filled = excluded.filled, quote = excluded.quote"""
INSERT_SPOT_TRADE = """
insert into spot_trades values (
    :symbol, :number, :order, :side, :price, :quantity, :fee, :fee_asset, :at, :is_maker
)"""
FORGET_SPOT = "delete from spot_balances; delete from spot_orders; delete from spot_trades;"
FORGET = "delete from orders; delete from positions; delete from activities; delete from entitlements;"
DECIMAL_COLUMNS = {
    "qty",
    "notional",
    "limit_price",
    "filled_qty",
    "filled_avg_price",
    "price",
    "per_share",
    "cash",
    "cum_qty",
    "leaves_qty",
    "quantity",
    "filled",
    "quote",
    "fee",
    "free",
    "locked",
}


class Book:
    """Opens or creates the SQLite file; None keeps the book in memory. SandboxError if another sandbox has it."""

    def __init__(self, path: Path | None, now: int) -> None:
        """`now` is the clock a new book starts at; an existing book keeps its own."""
        self._lock = _lock(path) if path else None
        try:
            self._db = sqlite3.connect(path or ":memory:", isolation_level=None)
            self._db.execute("pragma journal_mode = wal")
            self._db.execute("pragma synchronous = normal")
            version = self._db.execute("pragma user_version").fetchone()[0]
            tables = self._db.execute("select count(*) from sqlite_schema").fetchone()[0]
        except sqlite3.DatabaseError as error:
            message = f"{path} cannot be used as a book ({error}); name a new file or one that a sandbox made."
            raise SandboxError(message) from error
        if version not in (2, VERSION) and tables:
            raise SandboxError(
                f"{path} is not a book of version {VERSION}; name a new file or one that a sandbox made."
            )
        if version != VERSION:
            with self.transaction():
                if not tables:
                    self._create(SCHEMA)
                    self._db.execute("insert into account values (?, ?, ?, '0', '0')", [str(uuid.uuid4()), now, now])
                self._create(SPOT_SCHEMA)
                self._db.execute(f"pragma user_version = {VERSION}")
        self.account_id, self.created_at = self._db.execute("select id, created_at from account").fetchone()

    def _create(self, schema: str) -> None:
        for statement in schema.split(";")[:-1]:
            self._db.execute(statement)

    def close(self) -> None:
        """Close the file and let another sandbox have it."""
        self._db.close()
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All or nothing: commits when the block ends, rolls back when it raises."""
        self._db.execute("begin immediate")
        try:
            yield
        except BaseException:  # Ctrl-C too: half a transaction must not stay open for the next one to commit
            self._db.execute("rollback")
            raise
        self._db.execute("commit")

    @property
    def clock(self) -> int:
        return self._db.execute("select clock from account").fetchone()[0]

    def set_clock(self, now: int) -> None:
        self._db.execute("update account set clock = ?", [now])

    @property
    def cash(self) -> Decimal:
        return Decimal(self._db.execute("select cash from account").fetchone()[0])

    @property
    def last_equity(self) -> Decimal:
        return Decimal(self._db.execute("select last_equity from account").fetchone()[0])

    def set_last_equity(self, equity: Decimal) -> None:
        self._db.execute("update account set last_equity = ?", [str(equity)])

    def orders(self, after: int | None = None, until: int | None = None) -> list[Order]:
        """Orders taken after and before these instants (both exclusive, None: no bound), oldest first."""
        query = """select * from orders where (?1 is null or submitted_at > ?1) and (?2 is null or submitted_at < ?2)
            order by number"""
        return _read(self._db, Order, query, [after, until])

    def open_orders(self) -> list[Order]:
        """Orders that can still fill, oldest first."""
        query = """select * from orders where status in ('pending_new', 'accepted', 'new', 'partially_filled')
            order by number"""
        return _read(self._db, Order, query)

    def order(self, order_id: str) -> Order | None:
        return _first(_read(self._db, Order, "select * from orders where order_id = ?", [order_id]))

    def order_of_client(self, client_order_id: str) -> Order | None:
        return _first(_read(self._db, Order, "select * from orders where client_order_id = ?", [client_order_id]))

    def newest_order(self) -> Order | None:
        return _first(_read(self._db, Order, "select * from orders order by number desc limit 1"))

    def put_order(self, order: Order) -> None:
        """Insert the order, or replace the row of the same number."""
        self._db.execute("delete from orders where number = ?", [order.number])
        self._db.execute(INSERT_ORDER, _cells(order))

    def forget_order(self, order: Order) -> None:
        """The order is not known any more; what it moved stays."""
        self._db.execute("delete from orders where number = ?", [order.number])

    def positions(self) -> list[Position]:
        """Everything held, by symbol."""
        rows = self._db.execute("select symbol, qty, cost from positions order by symbol")
        return [Position(symbol, Decimal(qty), Decimal(cost)) for symbol, qty, cost in rows]

    def position(self, symbol: str) -> Position:
        """What is held of this symbol; zero shares if nothing."""
        row = self._db.execute("select qty, cost from positions where symbol = ?", [symbol]).fetchone()
        return Position(symbol, Decimal(row[0]), Decimal(row[1])) if row else Position(symbol, Decimal(0), Decimal(0))

    def put_position(self, position: Position) -> None:
        """Store the position; one of zero shares disappears."""
        self._db.execute("delete from positions where symbol = ?", [position.symbol])
        if position.qty:
            self._db.execute("insert into positions values (:symbol, :qty, :cost)", _cells(position))

    def activities(self, after: int | None = None, until: int | None = None) -> list[Activity]:
        """Activities after and before these instants (both exclusive, None: no bound), oldest first."""
        query = """select * from activities where (?1 is null or happened_at > ?1) and (?2 is null or happened_at < ?2)
            order by number"""
        return _read(self._db, Activity, query, [after, until])

    def fills_of(self, session_opens_at: int, session_closes_at: int, side: str) -> list[Activity]:
        """The fills of one side in one session, oldest first."""
        query = """select * from activities where kind = 'FILL' and side = ? and happened_at between ? and ?
            order by number"""
        return _read(self._db, Activity, query, [side, session_opens_at, session_closes_at])

    def next_activity(self) -> int:
        return 1 + self._db.execute("select coalesce(max(number), 0) from activities").fetchone()[0]

    def add_activity(self, activity: Activity) -> None:
        """Record a movement and move the cash with it."""
        self._db.execute(INSERT_ACTIVITY, _cells(activity))
        self._db.execute("update account set cash = ?", [str(self.cash + activity.cash)])

    def rewrite(self, activity_id: str, activity: Activity | None) -> None:
        """Put another activity, or none, in the place of one that was recorded; cash follows."""
        [old] = _read(self._db, Activity, "select * from activities where activity_id = ?", [activity_id])
        self._db.execute("delete from activities where activity_id = ?", [activity_id])
        cash = self.cash - old.cash
        if activity is not None:
            self._db.execute(INSERT_ACTIVITY, _cells(activity))
            cash += activity.cash
        self._db.execute("update account set cash = ?", [str(cash)])

    def forget(self, cash: Decimal) -> None:
        """Everything is gone, and the account holds this cash and nothing else."""
        for statement in FORGET.split(";")[:-1]:
            self._db.execute(statement)
        self._db.execute("update account set cash = ?", [str(cash)])

    def add_entitlement(self, entitlement: Entitlement) -> None:
        self._db.execute(
            "insert into entitlements values (:symbol, :ex_at, :paid_at, :qty, :per_share)", _cells(entitlement)
        )

    def next_payment(self) -> int | None:
        """When the next entitlement is paid."""
        return self._db.execute("select min(paid_at) from entitlements").fetchone()[0]

    def take_entitlements(self, by: int) -> list[Entitlement]:
        """Remove and return what is payable by this instant."""
        query = "select * from entitlements where paid_at <= ? order by paid_at, symbol"
        due = _read(self._db, Entitlement, query, [by])
        self._db.execute("delete from entitlements where paid_at <= ?", [by])
        return due

    def spot_orders(self) -> list[SpotOrder]:
        """Orders of the spot account, oldest first."""
        return _read(self._db, SpotOrder, "select * from spot_orders order by rowid")

    def spot_trades(self) -> list[SpotTrade]:
        """Trades of the spot account, oldest first."""
        trades = _read(self._db, SpotTrade, "select * from spot_trades order by rowid")
        return [replace(trade, is_maker=bool(trade.is_maker)) for trade in trades]

    def put_spot(self, order: SpotOrder, trade: SpotTrade | None) -> None:
        """Insert the order, or what changed of it, and the trade that changed it, if one did."""
        self._db.execute(PUT_SPOT_ORDER, _cells(order))
        if trade is not None:
            self._db.execute(INSERT_SPOT_TRADE, _cells(trade))

    def balances(self) -> dict[str, Balance]:
        """What the spot account holds of each asset; nothing before it was ever kept."""
        rows = self._db.execute("select asset, free, locked from spot_balances")
        return {asset: Balance(Decimal(free), Decimal(locked)) for asset, free, locked in rows}

    def put_balances(self, balances: Mapping[str, Balance]) -> None:
        rows = [(asset, str(held.free), str(held.locked)) for asset, held in balances.items()]
        self._db.executemany("insert or replace into spot_balances values (?, ?, ?)", rows)

    def forget_spot(self) -> None:
        """The spot account begins anew."""
        for statement in FORGET_SPOT.split(";")[:-1]:
            self._db.execute(statement)


def _read(db: sqlite3.Connection, kind: type[Row], query: str, values: Sequence[object] = ()) -> list[Row]:
    """Rows as frozen objects; the columns of a table are the fields of its class, in the same order."""
    decimal = [field.name in DECIMAL_COLUMNS for field in fields(kind)]
    return [
        kind(*(Decimal(cell) if exact and cell is not None else cell for cell, exact in zip(row, decimal, strict=True)))
        for row in db.execute(query, values)
    ]


def _cells(row: object) -> dict[str, object]:
    return {name: str(cell) if isinstance(cell, Decimal) else cell for name, cell in asdict(row).items()}


def _first(rows: list[Row]) -> Row | None:
    return rows[0] if rows else None


def _lock(path: Path) -> int:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(f"{path}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC)
    except OSError as error:
        raise SandboxError(f"The book {path} cannot be written: {error.strerror}.") from error
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(handle)
        raise SandboxError(f"Another sandbox is running on the book {path}; stop it, or name another --book.") from None
    return handle
