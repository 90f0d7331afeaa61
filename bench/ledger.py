"""python -m bench.ledger [--orders N …] [--accounts N]: what a session asks of a ledger, as its history grows.

For each number in --orders a new warehouse gets accounts with so many orders each, twenty an hour, one per symbol.
Most are filled, one in 25 is refused by the broker and one is given up. With them come decisions, refusals, halts,
adoptions, marks and reconciliations, written as a session writes them: the ledger's own triggers see every row. Then
everything that a session's step and a reconciliation read and write is timed, by the ledger's own methods. What is
told is the median of each, and the ratio of the longest history to the shortest: what is about 1 costs the same after
ten years.
"""

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

from bench.ledger_history import write
from execution import status
from execution.brokers.base import AccountSnapshot, BrokerOrder, BrokerSnapshot, Fill
from execution.comparison import Comparison
from execution.ledger import Ledger
from execution.orders import Order, OrderStatus, Side
from execution.records import Decision, Intent, RefusedBar
from warehouse import embedded
from warehouse.migrate import bring_up

ORDERS = [1_000, 10_000, 100_000]
SYMBOLS = 20
TIMES = 21
HOUR = timedelta(hours=1)
OWN = "bench-1"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.ledger", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--orders", type=int, nargs="+", default=ORDERS, help="of each account (default: %(default)s)")
    parser.add_argument("--accounts", type=int, default=1, help="(default: %(default)s)")
    options = parser.parse_args()
    for name in ("DATABASE_URL", "PGHOST", "PGUSER", "PGPASSFILE"):
        os.environ.pop(name, None)
    found = []
    for orders in options.orders:
        with tempfile.TemporaryDirectory() as folder:
            os.environ["TRUEBAR_STATE_DIR"] = folder
            bring_up()
            try:
                found.append(_measure(orders, options.accounts))
            finally:
                embedded.stop(Path(folder))
    _tell(options.orders, found)


def _measure(orders: int, accounts: int) -> dict[str, float]:
    end = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
    print(f"… {accounts} x {orders:,} orders: writing them", flush=True)
    for number in range(1, accounts + 1):
        write(f"bench-{number}", orders, SYMBOLS, end)
    with Ledger.view(OWN) as ledger:
        return {name: _median(ask) for name, ask in _asked(ledger, orders, end).items()}


def _asked(ledger: Ledger, written: int, end: datetime) -> dict[str, Callable[[int], object]]:
    """What a session asks and writes, by name; each is called with the number of the try."""
    pairs = [(f"m{number}", f"S{number}") for number in range(SYMBOLS)]
    bars = [(*pair, end) for pair in pairs]
    broker = _broker(written, end)
    now = end + timedelta(minutes=5)

    def decide(number: int) -> None:
        name = f"new-{number}"
        decided = Decision(
            name, "m0", "S0", "1h", end + number * timedelta(seconds=1), end + HOUR, now, ("f",), (1.0,), 0.5, 0.1
        )
        intent = Intent(name, name, "S0", Side.BUY, Decimal(1), Decimal(100), sizing={}, verdicts={})
        ledger.write_ahead([decided], [intent])

    def book(number: int) -> None:
        name = f"new-{number}"
        order = Order(name, "S0", Side.BUY, Decimal(1), OrderStatus.FILLED, f"B{name}", Decimal(1))
        fill = Fill(f"E{name}", f"B{name}", "S0", Side.BUY, Decimal(1), Decimal(100), now, Decimal(1))
        ledger.record_update(order, fill, now)

    def refuse(number: int) -> None:
        refused = [RefusedBar(f"{name}-never", symbol, "1h", end, ("no",)) for name, symbol in pairs]
        ledger.record_refusals(refused[: number % 2], now)

    return {
        "snapshot (positions, cash, what is new)": lambda _: ledger.snapshot(broker, end - timedelta(days=1)),
        "unsettled": lambda _: ledger.unsettled(),
        "given_up": lambda _: ledger.given_up(now - timedelta(minutes=10)),
        "apart": lambda _: ledger.apart(),
        "standing": lambda _: ledger.standing(),
        "halts": lambda _: ledger.halts(),
        "concerns": lambda _: ledger.concerns(ledger.newest_event()),
        "newest_event": lambda _: ledger.newest_event(),
        "withdrawals": lambda _: ledger.withdrawals(),
        "attempts": lambda _: ledger.attempts(bars),
        "aimed_at": lambda _: ledger.aimed_at(bars),
        "entries": lambda _: ledger.entries({pair: end for pair in pairs}),
        "left_behind": lambda _: ledger.left_behind(),
        "closings": lambda _: ledger.closings(1, "S0"),
        "closing_refused": lambda _: ledger.closing_refused("S0", now),
        "last_agreement": lambda _: ledger.last_agreement(),
        "mark": lambda number: ledger.mark(Decimal(10**9 + number), now),
        "usage": lambda _: ledger.usage(now),
        "record_refusals": refuse,
        "write_ahead": decide,
        "record_update (a fill)": book,
        "record_reconciliation": lambda _: ledger.record_reconciliation(
            Comparison((), (), ()), "continuous", now, broker
        ),
        "status": lambda _: list(status.lines(ledger._connection, OWN)),
    }


def _broker(written: int, end: datetime) -> BrokerSnapshot:
    """What a broker lists of the newest hour."""
    orders, executions = [], []
    for number in range(written - SYMBOLS, written):
        if number % 25 > 22:
            continue
        name, symbol, quantity = f"{OWN}-{number}", f"S{number % SYMBOLS}", Decimal("0.25") + number % 7
        side = Side.SELL if number // SYMBOLS % 3 == 0 else Side.BUY
        orders.append(BrokerOrder(f"B{name}", name, symbol, side, quantity, OrderStatus.FILLED, quantity, end))
        price = 100 + (number % 997) * Decimal("0.0137")
        executions.append(Fill(f"E{name}", f"B{name}", symbol, side, quantity, price, end, quantity))
    account = AccountSnapshot(OWN, Decimal(10**9), None, Decimal(10**9), shorting_enabled=True)
    return BrokerSnapshot(account, end - timedelta(days=1), tuple(orders), tuple(executions))


def _median(ask: Callable[[int], object]) -> float:
    """Milliseconds, the first try left out."""
    took = []
    for number in range(TIMES):
        began = time.perf_counter()
        ask(number)
        took.append((time.perf_counter() - began) * 1e3)
    return statistics.median(took[1:])


def _tell(sizes: list[int], found: list[dict[str, float]]) -> None:
    print(f"{'median ms after so many orders':40}" + "".join(f"{size:>12,}" for size in sizes) + f"{'ratio':>9}")
    for name in found[0]:
        times = [one[name] for one in found]
        print(f"{name:40}" + "".join(f"{value:12.2f}" for value in times) + f"{times[-1] / times[0]:9.1f}")


if __name__ == "__main__":
    main()
