"""Properties of the book, on the broker itself: over random orders, random steps of the clock, and sudden deaths."""

import contextlib
import os
import signal
from collections import defaultdict
from collections.abc import Callable
from decimal import Decimal
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sandbox.broker.account import Account
from sandbox.broker.book import Book
from sandbox.broker.broker import Broker
from sandbox.broker.market import Market
from sandbox.broker.orders import Refusal, parse
from sandbox.tape import files as tape
from sandbox.timekeeping import MINUTE, parse_instant
from tests.sandbox.stage import DAYS

START = parse_instant("2012-11-19T16:00:00Z")
BEFORE_WORK = parse_instant("2012-11-21T22:00:00Z")
HOUR = 60 * MINUTE
STRIDE = 11
"""Besides after each commit, every how many statements the process is killed. A stride of 1 takes a minute."""
KINDS = ("CSD", "FILL", "DIV", "SPLIT", "FEE")
ORDER = st.fixed_dictionaries(
    {
        "symbol": st.sampled_from(["UP", "FLAT"]),
        "side": st.sampled_from(["buy", "buy", "sell"]),
        "qty": st.sampled_from(["1", "7", "250", "0.5", "3.123456789"]),
        "limit_price": st.sampled_from([None, None, "49.99", "50", "101", "104.5"]),
    }
)
STEPS = st.lists(st.one_of(ORDER, st.integers(0, 40), st.just("cancel")), min_size=1, max_size=30)
ANY_STEPS = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture
def market(november: Path) -> Market:
    return Market(tape.load(november))


@ANY_STEPS
@given(steps=STEPS)
def test_cash_and_positions_are_the_sum_of_what_happened(market: Market, steps: list) -> None:
    broker = play(market, steps, lambda broker, until: broker.advance(until))
    book = broker.book
    cash, held = Decimal(0), defaultdict(Decimal)
    fills = []
    for entry in book.activities():
        cash += entry.cash
        if entry.kind == "FILL":
            fills.append(entry.order_id)
            signed = entry.qty if entry.side == "buy" else -entry.qty
            assert entry.cash == -signed * entry.price
            held[entry.symbol] += signed
        elif entry.kind == "SPLIT":
            held[entry.symbol] += entry.qty
        else:
            assert entry.cash == entry.cash.quantize(Decimal("0.01"))
        assert held[entry.symbol] >= 0
    assert book.cash == cash
    assert {position.symbol: position.qty for position in book.positions()} == {s: q for s, q in held.items() if q}
    assert sorted(fills) == sorted(order.order_id for order in book.orders() if order.status == "filled")
    moments = [entry.happened_at for entry in book.activities()]
    # Orders of one instant are told apart by microseconds, so a fill at once may lie that far ahead of the clock.
    assert all(later >= earlier - len(book.orders()) for earlier, later in pairwise(moments))


@ANY_STEPS
@given(steps=STEPS)
def test_how_time_is_cut_changes_nothing(market: Market, steps: list) -> None:
    def in_strides(broker: Broker, until: int) -> None:
        while broker.now < until:
            broker.advance(min(until, broker.now + 37 * MINUTE))

    at_once = play(market, steps, lambda broker, until: broker.advance(until))
    in_pieces = play(market, steps, in_strides)
    assert story(at_once) == story(in_pieces)


def test_a_step_that_fails_leaves_neither_rows_nor_messages(market: Market) -> None:
    broker = Broker(Account(Book(None, START), market))
    request = {"symbol": "UP", "side": "buy", "qty": "1", "type": "market", "time_in_force": "day"}
    order = broker.submit(parse(request))
    broker.account.take_updates()
    before = story(broker)

    def fail_late() -> None:
        with broker.account.step():
            broker.account.fill(order, Decimal(1), Decimal(100), START)
            broker.account.change(order, "canceled", START, status="canceled")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail_late()
    assert story(broker) == before


@pytest.mark.whole
def test_a_kill_at_any_statement_leaves_a_book_that_goes_on(market: Market, tmp_path: Path) -> None:
    """The process dies by SIGKILL before its n-th SQL statement; the next one does the rest of the work."""
    undisturbed = Book(None, BEFORE_WORK)
    statements = []
    undisturbed._db.set_trace_callback(statements.append)
    expected = work(undisturbed, market)
    kinds = " ".join(row[0] for row in expected[2:])
    assert kinds == "CSD FILL FILL DIV FILL FILL FEE SPLIT FILL DIV FILL FILL FEE"
    after_commits = [n for n in range(1, len(statements)) if statements[n - 1] == "commit"]
    for n in sorted({*after_commits, *range(0, len(statements), STRIDE)}):
        path = tmp_path / f"{n}.sqlite"
        child = os.fork()
        if child == 0:
            _work_until_killed(path, market, n)
        _, status = os.waitpid(child, 0)
        assert os.WTERMSIG(status) == signal.SIGKILL
        book = Book(path, BEFORE_WORK)
        assert work(book, market) == expected, f"killed before {statements[n]}"
        book.close()


def _work_until_killed(path: Path, market: Market, n: int) -> None:
    try:
        book = Book(path, BEFORE_WORK)
        countdown = iter(range(n))
        book._db.set_trace_callback(lambda _: next(countdown, None) is None and os.kill(os.getpid(), signal.SIGKILL))
        work(book, market)
    finally:
        os._exit(1)


def work(book: Book, market: Market) -> list[tuple]:
    """Trade through four sessions with dividends and a split inside; what an earlier life did is not done again."""
    broker = Broker(Account(book, market))
    for day in DAYS[3:7]:
        until = parse_instant(f"{day}T22:00:00Z")
        if broker.now < until:
            for symbol, side in (("UP", "buy"), ("FLAT", "buy" if day.day % 2 else "sell")):
                order = {"symbol": symbol, "side": side, "qty": "10", "type": "market", "time_in_force": "day"}
                with contextlib.suppress(Refusal):
                    broker.submit(parse({**order, "client_order_id": f"{symbol} {day}"}))
            broker.advance(until)
    return [row for row in story(broker) if not isinstance(row, tuple) or row[0] in KINDS]


def play(market: Market, steps: list, advance: Callable[[Broker, int], None]) -> Broker:
    """Do the steps: a dictionary is an order, a number that many hours, "cancel" cancels the oldest open order."""
    broker = Broker(Account(Book(None, START), market))
    for step in steps:
        try:
            if step == "cancel":
                for order in broker.book.open_orders()[:1]:
                    broker.cancel(order.order_id)
            elif isinstance(step, int):
                advance(broker, min(broker.now + step * HOUR, START + 300 * HOUR))
            else:
                kind = "market" if step["limit_price"] is None else "limit"
                broker.submit(parse({**step, "type": kind, "time_in_force": "day"}))
        except Refusal:
            continue
    return broker


def story(broker: Broker) -> list[tuple]:
    """All that a book tells, without the account's random identity."""
    entries = [(e.kind, e.happened_at, e.symbol, e.qty, e.price, e.cash, e.side) for e in broker.book.activities()]
    orders = [(o.number, o.status, o.updated_at, o.filled_avg_price) for o in broker.book.orders()]
    updates = [(u.event, u.at, u.order.number, u.position_qty) for u in broker.account.take_updates()]
    return [broker.now, broker.book.last_equity, *entries, *orders, *updates]
