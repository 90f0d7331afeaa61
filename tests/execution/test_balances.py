"""The sums that are kept of an account's bookings: exact whatever is booked in whatever order, by triggers alone."""

import threading
from collections import defaultdict
from decimal import Decimal
from pathlib import Path

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from psycopg import errors

from tests.execution.agreement import assert_balances_hold
from tests.execution.booked import ACCOUNT, book
from tests.machine import as_owner
from warehouse.connection import connect
from warehouse.versions import available

pytestmark = pytest.mark.database

SYMBOLS = ("X", "Y", "Z")
AMOUNTS = st.decimals("-1000000000", "1000000000", places=9)
ABOVE_ZERO = st.decimals("0.000000001", "100000", places=9)
NAMED = st.sampled_from(SYMBOLS)

FILLS = st.tuples(
    st.just("fill"), NAMED, st.sampled_from(("buy", "sell")), ABOVE_ZERO, ABOVE_ZERO, AMOUNTS, st.none() | NAMED
)
BOOKINGS = st.lists(
    st.one_of(
        FILLS,
        st.tuples(st.just("activity"), st.none() | NAMED, AMOUNTS, AMOUNTS),
        st.tuples(st.just("adoption"), NAMED, AMOUNTS, AMOUNTS),
        st.tuples(st.just("adoption"), st.none(), st.just(Decimal(0)), AMOUNTS),
        st.tuples(st.just("epoch")),
    ),
    max_size=30,
)

ORDERS = """
insert into ledger.intents (client_order_id, decision_id, account_id, symbol, side, quantity, order_type, time_in_force,
    reference_price, verdict, refusals)
select decision_id, decision_id, account_id, symbol, substr(model_id, 2), 100000000, 'market', 'day', 100,
    'approved', '{}'
from ledger.decisions where account_id = %(account)s
"""
DECISIONS = """
insert into ledger.decisions (decision_id, account_id, model_id, symbol, timeframe, bar_start, bar_end, broker_time,
    feature_names, feature_values, score, target_weight)
select %(account)s || symbol || '-' || side, %(account)s, 'm' || side, symbol, '1d', '2020-01-01', '2020-01-02',
    '2020-01-02', '{f}', '{1}', 0.5, 0.1
from unnest(array['X', 'Y', 'Z']) as symbol, unnest(array['buy', 'sell']) as side
"""
WRONG = "select symbol, kept, booked from ledger.wrong_balances where account_id = %s"


@pytest.fixture
def account(warehouse_db: Path, request: pytest.FixtureRequest) -> str:
    """An account of the test's own, in which nothing was booked."""
    name = f"balances of {request.node.name}"
    with connect("executor") as connection:
        connection.execute(ACCOUNT, (name,))
        connection.execute(DECISIONS, {"account": name})
        connection.execute(ORDERS, {"account": name})
    return name


def _added_up(bookings: list[tuple]) -> dict[str | None, Decimal]:
    """What bookings come to since the last epoch, by symbol, None for cash; apart from the product's SQL."""
    sums: dict[str | None, Decimal] = defaultdict(Decimal)
    for booking in bookings:
        match booking:
            case ("fill", symbol, side, quantity, price, fee, fee_symbol):
                sign = 1 if side == "buy" else -1
                sums[symbol] += sign * quantity
                sums[None] -= sign * quantity * price
                sums[fee_symbol] -= fee
            case ("activity" | "adoption", symbol, quantity, cash):
                # units of nothing move nothing
                sums[symbol] += quantity if symbol else 0
                sums[None] += cash
            case ("epoch",):
                sums.clear()
    return sums


def _kept(connection: psycopg.Connection, account: str) -> dict[str | None, Decimal]:
    positions = connection.execute("select symbol, quantity from ledger.positions where account_id = %s", (account,))
    cash = connection.execute("select cash from ledger.cash where account_id = %s", (account,)).fetchall()
    assert len(cash) == 1
    return {**dict(positions.fetchall()), None: cash[0][0]}


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(bookings=BOOKINGS)
def test_whatever_is_booked_in_whatever_order_they_are_its_sum(account: str, bookings: list[tuple]) -> None:
    sums = {symbol: amount for symbol, amount in _added_up(bookings).items() if amount and symbol}
    with connect("executor") as connection:
        for number, booking in enumerate(bookings):
            book(connection, account, number, booking)
        assert _kept(connection, account) == {**sums, None: _added_up(bookings)[None]}
        assert connection.execute(WRONG, (account,)).fetchall() == []
        connection.rollback()


@pytest.mark.parametrize("table", ["fills", "activities", "adoptions", "epochs"])
def test_a_booking_past_its_trigger_is_found(account: str, table: str) -> None:
    trigger = "restarts_balances" if table == "epochs" else "moves_balances"
    booked = {
        "fills": ("fill", "X", "buy", Decimal(2), Decimal(3), Decimal(0), None),
        "activities": ("activity", "X", Decimal(2), Decimal(-6)),
        "adoptions": ("adoption", "X", Decimal(2), Decimal(-6)),
        "epochs": ("epoch",),
    }
    with as_owner() as owner:
        book(owner, account, 1, ("adoption", "X", Decimal(2), Decimal(-6)))
        assert owner.execute(WRONG, (account,)).fetchall() == []
        owner.execute(f"alter table ledger.{table} disable trigger {trigger}")
        book(owner, account, 2, booked[table])
        found = owner.execute(WRONG, (account,)).fetchall()
        owner.rollback()
    factor = 0 if table == "epochs" else 2
    assert sorted(found, key=str) == sorted([("X", 2, factor * 2), (None, -6, factor * -6)], key=str)


@pytest.mark.parametrize("first", ["a booking", "an epoch"])
def test_a_booking_and_an_epoch_take_turns(account: str, first: str) -> None:
    """The second one waits for the first, and then sees what it did."""
    booking, epoch = ("activity", "X", Decimal(5), Decimal(7)), ("epoch",)
    one, other = (booking, epoch) if first == "a booking" else (epoch, booking)
    with connect("executor") as holder, connect("executor") as waiter:
        book(holder, account, 1, one)
        waits = threading.Thread(target=book, args=(waiter, account, 2, other))
        waits.start()
        pid = waiter.info.backend_pid
        with connect("executor", autocommit=True) as looker:
            while not looker.execute("select 1 from pg_locks where pid = %s and not granted", (pid,)).fetchone():
                assert waits.is_alive(), "it did not wait"
        holder.commit()
        waits.join()
        waiter.commit()
    assert_balances_hold(account)
    with connect("executor") as connection:
        assert _kept(connection, account) == ({None: 0} if first == "a booking" else {"X": 5, None: 7})


def test_rivals_lose_no_booking(account: str) -> None:
    def rival(number: int) -> None:
        with connect("executor", autocommit=True) as connection:
            for step in range(25):
                booking = ("activity", "X" if step % 2 else "Y", Decimal(1), Decimal("0.01"))
                book(connection, account, 100 * number + step, booking)

    rivals = [threading.Thread(target=rival, args=(number,)) for number in range(4)]
    for one in rivals:
        one.start()
    for one in rivals:
        one.join()
    with connect("executor") as connection:
        assert _kept(connection, account) == {"X": 48, "Y": 52, None: 1}
    assert_balances_hold(account)


def test_an_old_warehouse_has_them_from_what_it_booked(account: str) -> None:
    """The migration's own statement, past which everything had been booked."""
    script = next(migration.statements for migration in available() if migration.name == "0101_balances")
    fill = next(part for part in script.split(";\n") if part.strip().startswith("insert into ledger.balances (acc"))
    bookings: list[tuple] = [
        ("activity", None, Decimal(0), Decimal(1000)),
        ("epoch",),
        ("fill", "X", "buy", Decimal("0.3"), Decimal("1.7"), Decimal("0.01"), "Z"),
        ("fill", "Y", "sell", Decimal(4), Decimal("2.5"), Decimal("0.02"), None),
        ("activity", "X", Decimal(1), Decimal("0.5")),
        ("adoption", "Y", Decimal(-1), Decimal(3)),
    ]
    with as_owner(past_triggers=True) as owner:
        for number, booking in enumerate(bookings):
            book(owner, account, number, booking)
        assert len(owner.execute(WRONG, (account,)).fetchall()) == 4
        owner.execute("delete from ledger.balances")
        owner.execute(fill)
        assert owner.execute(WRONG, (account,)).fetchall() == []
        assert _kept(owner, account) == _added_up(bookings)
        owner.rollback()


@pytest.mark.parametrize(
    "forgery",
    [
        "update ledger.balances set amount = amount + 1",
        "delete from ledger.balances",
        "truncate ledger.balances",
        "insert into ledger.balances (account_id, symbol, amount) values ('nobody', 'new', 1)",
    ],
)
def test_nobody_writes_them(account: str, forgery: str) -> None:
    for role in ("executor", "operator", "transformer", "trainer"):
        with connect(role) as connection, pytest.raises(errors.InsufficientPrivilege):
            connection.execute(forgery)
    with as_owner() as owner, pytest.raises(errors.InsufficientPrivilege, match="only bookings and epochs move it"):
        owner.execute(forgery)


def test_an_account_without_balances_books_nothing(account: str) -> None:
    with as_owner(past_triggers=True) as owner:
        owner.execute("delete from ledger.balances where account_id = %s", (account,))
        owner.execute("set session_replication_role = origin")
        with pytest.raises(errors.CheckViolation, match="has no balances"):
            book(owner, account, 1, ("activity", None, Decimal(0), Decimal(1)))
        owner.rollback()
