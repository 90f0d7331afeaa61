"""Random schedules of real session processes at both stand-in brokers, judged by the brokers' own books.

Market, faults on the wire, SIGKILL at any request or statement, restarts, rivals, cut connections to the database,
stalls past the time of a bar, halts, hand trades, bookings, splits and resets. However it goes, no order goes beyond
its bar's intent, fills, positions and cash are the broker's, or the account is halted with a reason, and the commands
of the runbook lead to the next fill. In half of them a second model trades the same symbols, and may be retired on the
way: no two orders of a symbol oppose each other then.

`TRUEBAR_SCHEDULES=400 TRUEBAR_FIRST_SCHEDULE=1000` with `-m slow` runs that many more at each broker.
"""

import os
import zlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import pytest

from sandbox.broker import binance_wire
from tests.execution.schedules.oracle import assert_exact, assert_within, bound, standing
from tests.execution.schedules.places import DAYS, LAG, BookOrder, Coins, Place, Stocks
from tests.execution.schedules.plan import Bar, Schedule, Visit, drawn
from tests.execution.schedules.visits import visited
from tests.execution.spot import PAIRS, SPOT_KEY, SPOT_SECRET, spot_exchange
from tests.execution.world import (
    AFTER_CLOSE,
    KEY,
    SECRET,
    SYMBOLS,
    Exchange,
    LongPackage,
    SignalPackage,
    Warehouse,
)
from tests.machine import as_owner

_FIRST = int(os.environ.get("TRUEBAR_FIRST_SCHEDULE", "1000"))
_SEEDS = range(_FIRST, _FIRST + int(os.environ.get("TRUEBAR_SCHEDULES", "20")))
_MORE = [(seed, 1 + seed % 2) for seed in _SEEDS]
# what failed once stays
FEW_STOCKS = [(1001, 1), (1002, 2), (60022, 1), (60259, 2), (60393, 2), (70269, 2), (122057, 2), (126078, 1)]
FEW_COINS = [(2, 1), (5, 2), (122012, 1), (122068, 1), (124093, 2)]


def _settings(monkeypatch: pytest.MonkeyPatch, exchange: Exchange) -> None:
    values = {
        "APCA_API_KEY_ID": KEY,
        "APCA_API_SECRET_KEY": SECRET,
        "APCA_API_BASE_URL": exchange.url,
        "APCA_API_STREAM_URL": exchange.stream_url,
        "BINANCE_TRADING_KEY": SPOT_KEY,
        "BINANCE_TRADING_SECRET": SPOT_SECRET,
        "BINANCE_TRADING_URL": f"{exchange.url}/binance",
        "BINANCE_TRADING_SOCKET_URL": f"{exchange.url.replace('http', 'ws', 1)}/binance/ws-api/v3",
    }
    for name, value in values.items():
        monkeypatch.setenv(name, value)


def _packages(name: str, symbols: Sequence[str], models: int) -> tuple[SignalPackage, ...]:
    """One model that wants what a schedule's bars say, or one that is never short and another one beside it."""
    if models == 1:
        found: tuple[SignalPackage, ...] = (SignalPackage(model_id=name, symbols=tuple(symbols)),)
    else:
        kinds = (("signal", f"{name}-one"), ("noise", f"{name}-two"))
        found = tuple(LongPackage(model_id=own, symbols=tuple(symbols), follows=follows) for follows, own in kinds)
    for package in found:
        Warehouse().enter_state(package.model_id, "paper")
    return found


@pytest.fixture
def stocks(request, tape, tmp_path: Path, nobody_else, monkeypatch):
    seed, models = request.param
    schedule = drawn(seed, Stocks.acts, Stocks.starts, Stocks.newer_acts)
    exchange = Exchange(tape, tmp_path / "book.sqlite", DAYS[Stocks.firsts[schedule.start]].closes + AFTER_CLOSE)
    _settings(monkeypatch, exchange)
    packages = _packages(f"stocks-{schedule.seed:08}", SYMBOLS, models)
    how = {"knows_split": schedule.knows_split, "at_evening": schedule.at_evening}
    yield Stocks(exchange, packages, schedule.start, **how), schedule
    exchange.stop()


@pytest.fixture
def coins(request, spot_tape, tmp_path: Path, nobody_else, monkeypatch):
    seed, models = request.param
    schedule = drawn(seed, Coins.acts, Coins.starts)
    # not from the folder: one that a test before has left is given out again
    uid = 1_000 + zlib.crc32(request.node.nodeid.encode()) % 1_000_000_000
    monkeypatch.setattr(binance_wire, "UID", uid)
    exchange = spot_exchange(spot_tape, tmp_path)
    _settings(monkeypatch, exchange)
    packages = _packages(f"coins-{schedule.seed:08}", PAIRS, models)
    yield Coins(exchange, packages, schedule.start, uid), schedule
    exchange.stop()


def _live_through(place: Place, schedule: Schedule) -> None:
    for number, bar in enumerate(schedule.bars):
        place.close_bar(number, bar.weights, bar.beside)
        place.set_faults(schedule.seed * 100 + number, bar.faults)
        wanted = (bar.weights, bar.beside)[: len(place.packages)]
        bounds = {
            symbol: bound(place, number, [its[at] for its in wanted], symbol) for at, symbol in enumerate(place.symbols)
        }
        before, resets = place.trades_by_hand, place.was_reset
        for visit in bar.before:
            _visit(place, visit, number)
        _acts(place, schedule, number, bar, bar.between)
        for visit in bar.after:
            _visit(place, visit, number)
        place.trade(number)
        _visit(place, Visit(), number)
        if place.was_reset == resets:
            assert_within(place, bounds, Decimal(14 * (place.trades_by_hand - before)))
        _acts(place, schedule, number, bar, bar.finally_)
        if number == schedule.retires_after and len(place.packages) > 1:
            place.warehouse.enter_state(place.packages[1].model_id, "retired")


def _visit(place: Place, visit: Visit, number: int) -> None:
    is_halted = standing(place.account())[0] == "halt"
    before = {order.name for order in place.orders()}
    visited(visit, place.session, lambda: place.move_past(number))
    sides = Counter((order.symbol, order.side) for order in place.orders() if order.is_open and _is_ours(order))
    both = [symbol for symbol, side in sides if side == "buy" and (symbol, "sell") in sides]
    assert not both, f"of {both} a buy and a sell of ours are open"
    # what was on its way when the market moved may arrive then
    if is_halted and visit.strike != "stall":
        new = [order for order in place.orders() if order.name not in before]
        assert not new, f"the account is halted, and {new} were sent"


def _is_ours(order: BookOrder) -> bool:
    return order.client_id.startswith("tb-")


def _acts(place: Place, schedule: Schedule, number: int, bar: Bar, acts: tuple[str, ...]) -> None:
    # whoever else acts, acts over a line of his own
    place.set_faults(0, {})
    for name in acts:
        place.act(name)
    place.set_faults(schedule.seed * 100 + number + 50, bar.faults)


def _way_out(place: Place) -> None:
    """What the runbook says, until ledger and broker agree and the account trades."""
    broker = ("--broker", place.broker)
    for _ in range(8):
        visited(Visit(), place.session, lambda: None)
        action, reason = standing(place.account())
        differs = place.say("reconcile", *broker)
        if not differs and action == "release" and ": awaiting" not in place.told:
            return
        if differs and ": awaiting" not in place.told:
            # one that was never traded needs no halt: no session begins
            is_new = " is new and " in place.told
            assert is_new or standing(place.account())[0] != "release", f"differs, and is not halted: {place.told}"
            assert is_new or standing(place.account())[1], "it is halted without a reason"
            how = "--reset" if place.was_reset or is_new else "--all"
            place.say("adopt", how, "--reason", "I looked it up at the broker", *broker)
            place.was_reset = place.was_reset and "a new epoch begins" not in place.told
        elif action != "release":
            assert reason
            assert place.say("release", "--account", place.account(), "--reason", "it is mended") == 0, place.told
        place.move_to(place.now() + LAG)
    raise AssertionError(f"no way out of {standing(place.account())}: {place.told}")


def _walk(place: Place, schedule: Schedule) -> None:
    _live_through(place, schedule)
    place.calm()
    _way_out(place)
    first, second = place.symbols
    number = len(schedule.bars)
    for wanted in ((0.3, 0.0), (0.0, 0.3)):
        place.close_bar(number, wanted, wanted)
        visited(Visit(), place.session, lambda: None)
        place.trade(number)
        visited(Visit(), place.session, lambda: None)
        number += 1
    held = place.held()
    assert held.get(first, Decimal(0)) <= place.dust * len(place.packages), f"{held} is held and nobody sells it"
    assert held.get(second, Decimal(0)) > place.dust, f"{held} is held and nobody buys"
    # the second pass finds nothing
    assert place.say("reconcile", "--broker", place.broker) == 0, place.told
    assert place.say("reconcile", "--broker", place.broker) == 0
    assert place.told.strip() == f"account {place.account()}: agreed"
    assert_exact(place)


@pytest.mark.whole
@pytest.mark.parametrize("stocks", FEW_STOCKS, indirect=True)
def test_orders_that_wait_for_the_open(stocks):
    _walk(*stocks)


@pytest.mark.whole
@pytest.mark.parametrize("coins", FEW_COINS, indirect=True)
def test_orders_that_trade_at_once(coins):
    _walk(*coins)


@pytest.mark.whole
@pytest.mark.parametrize("stocks", [(1, 1)], indirect=True)
def test_the_judge_sees_what_is_wrong(stocks):
    place, schedule = stocks
    _walk(place, replace(schedule, bars=()))
    for corruption, said in (
        ("update ledger.balances set amount = amount - 1 where account_id = %s and symbol is null", "a balance is not"),
        # the balance and what it comes from agree again, and the broker has another
        ("update ledger.activities set cash = cash - 1 where account_id = %s", "cash is"),
        ("update ledger.intents set quantity = quantity + 1 where account_id = %s", "nobody intended"),
        ("update ledger.shares set amount = amount + 1 where account_id = %s", "a share is not"),
        ("delete from ledger.fills where account_id = %s", "not what events and fills come to"),
    ):
        with as_owner(past_triggers=True) as connection:
            connection.execute(corruption, (place.account(),))
        with pytest.raises(AssertionError, match=said):
            assert_exact(place)


@pytest.mark.slow
@pytest.mark.parametrize("stocks", _MORE, indirect=True)
def test_more_orders_that_wait_for_the_open(stocks):
    _walk(*stocks)


@pytest.mark.slow
@pytest.mark.parametrize("coins", _MORE, indirect=True)
def test_more_orders_that_trade_at_once(coins):
    _walk(*coins)
