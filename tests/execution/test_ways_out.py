"""For each halt the way out, walked to the next fill: adopt, release, decide, trade, agree."""

from datetime import timedelta
from decimal import Decimal

import pytest

from execution.__main__ import main
from execution.aims import aimed_at
from execution.holding import Entry, entries
from execution.lag import LAG
from execution.orders import OrderStatus
from execution.session import Session
from tests.execution.world import AFTER_CLOSE, AFTER_OPEN, KEY, SECRET, SignalPackage, rows, trading_days
from warehouse.connection import connect

pytestmark = pytest.mark.database

DAYS = trading_days()


@pytest.fixture
def account(exchange, warehouse, package, monkeypatch) -> str:
    """An account that has bought 485 ALPHA at the second day's open, with the settings that lead to it."""
    monkeypatch.setenv("APCA_API_KEY_ID", KEY)
    monkeypatch.setenv("APCA_API_SECRET_KEY", SECRET)
    monkeypatch.setenv("APCA_API_BASE_URL", exchange.url)
    monkeypatch.setenv("APCA_API_STREAM_URL", exchange.stream_url)
    monkeypatch.setattr("time.sleep", _no_pause)
    warehouse.publish(DAYS[0], {"ALPHA": 0.5})
    with Session.open([package], exchange.broker(), pause=_no_pause) as session:
        session.decide()
        exchange.advance(DAYS[1].opens + AFTER_OPEN)
        session.settle(timeout=10)
    return exchange.book()["account_id"]


def _trade_by_hand(exchange) -> None:
    exchange.trade(symbol="ALPHA", side="sell", qty="10", client_order_id="by-hand-1")
    exchange.trade(symbol="ALPHA", side="buy", qty="10", client_order_id="by-hand-2")


def _leave_a_position(exchange) -> None:
    exchange.trade(symbol="BETA", side="buy", qty="3", client_order_id="by-hand")


def _fill(exchange) -> dict:
    return exchange.book()["fills"][0]


def _correct(exchange) -> None:
    exchange.act("correct", activity_id=_fill(exchange)["id"], price="100.9")


def _bust(exchange) -> None:
    exchange.advance(DAYS[1].opens + timedelta(hours=1))
    exchange.act("bust", activity_id=_fill(exchange)["id"])


def _move_more(exchange) -> None:
    exchange.act("move", symbol="BETA", qty="2")


def _rename_without_a_word(exchange) -> None:
    exchange.act("move", symbol="ALPHA", qty="-485")
    exchange.act("move", symbol="BETA", qty="485")


def _lose_an_order(exchange) -> None:
    [order] = [o for o in exchange.book()["orders"] if o["status"] == "filled"]
    exchange.act("forget", order_id=order["id"])
    # one that was told of just now may be listed late, and is awaited
    exchange.advance(DAYS[1].opens + 2 * LAG)


def _use_our_id(exchange) -> None:
    [order] = [o for o in exchange.book()["orders"] if o["status"] == "filled"]
    exchange.act("resize", order_id=order["id"], qty="400")


HALTS = [
    _trade_by_hand,
    _leave_a_position,
    _correct,
    _bust,
    _move_more,
    _rename_without_a_word,
    _lose_an_order,
    _use_our_id,
]


@pytest.mark.parametrize("strike", HALTS)
def test_what_halted_is_adopted_and_the_next_order_fills(exchange, warehouse, package, account, strike, capsys):
    strike(exchange)
    assert main(["reconcile"]) == 1
    assert main(["adopt", "--all", "--reason", "I looked it up at the broker"]) == 0
    assert main(["release", "--account", account, "--reason", "adopted"]) == 0
    _walk_to_the_next_fill(exchange, warehouse, package, account)
    assert main(["reconcile"]) == 0
    kept = rows("select distinct reason from ledger.adoptions where account_id = %s", account)
    assert kept == [("I looked it up at the broker",)]


def _walk_to_the_next_fill(exchange, warehouse, package, account) -> None:
    exchange.advance(DAYS[1].closes + AFTER_CLOSE)
    warehouse.publish(DAYS[1], {"ALPHA": 0.25, "BETA": 0.25})
    with Session.open([package], exchange.broker(), pause=_no_pause) as session:
        before = len(exchange.book()["fills"])
        sent = session.decide().sent
        assert sent
        assert {order.status for order in sent} == {OrderStatus.ACCEPTED}
        exchange.advance(DAYS[2].opens + AFTER_OPEN)
        assert session.settle(timeout=10) == ()
        assert session.reconcile().outcome == "agreed"
        assert len(exchange.book()["fills"]) == before + len(sent)
    _assert_sums(exchange, account)


def _assert_sums(exchange, account) -> None:
    book = exchange.book()
    held = {position["symbol"]: Decimal(position["qty"]) for position in book["positions"]}
    assert dict(rows("select symbol, quantity from ledger.positions where account_id = %s", account)) == held
    [(cash,)] = rows("select cash from ledger.cash where account_id = %s", account)
    assert abs(cash - Decimal(book["cash"])) < Decimal("0.01")


def test_a_correction_names_its_fill_and_a_second_one_counts_from_the_first(exchange, account, capsys):
    fill = _fill(exchange)
    for price in ("100.9", "100.8"):
        exchange.act("correct", activity_id=fill["id"], price=price)
        assert main(["reconcile"]) == 1
        name = capsys.readouterr().out.split("fill ")[1].split(" ")[0]
        assert main(["adopt", "--about", name, "--reason", f"corrected to {price}"]) == 0
        _assert_sums(exchange, account)
    # cash is told as the difference that each correction made
    moved = rows(
        "select cash from ledger.adoptions where account_id = %s and finding = 'FillDiffers' order by adoption_id",
        account,
    )
    first = (Decimal(fill["price"]) - Decimal("100.9")) * Decimal(fill["qty"])
    assert moved == [(first,), (Decimal("0.1") * Decimal(fill["qty"]),)]


BOOKINGS = [
    {"kind": "SSP", "symbol": "ALPHA", "qty": "485"},
    {"kind": "CIL", "cash": "12.34"},
    {"kind": "CIL", "cash": "50.50", "symbol": "ALPHA", "qty": "-0.5"},
    {"kind": "INTNRA", "cash": "-0.2"},
    {"kind": "JNL", "cash": "3"},
    {"kind": "PTR", "cash": "0.01"},
    {"kind": "REORG", "symbol": "ALPHA", "qty": "-25"},
    {"kind": "CORR", "cash": "-1"},
    {"kind": "SUB", "cash": "1"},
    {"kind": "MEM", "cash": "0"},
    {"kind": "SOMETHING NEW", "cash": "-12.34"},
]


@pytest.mark.parametrize("booking", BOOKINGS)
def test_a_booking_counts_by_what_it_moves_and_trading_goes_on(exchange, warehouse, package, account, booking):
    exchange.act("book", **booking)
    assert main(["reconcile"]) == 0
    _walk_to_the_next_fill(exchange, warehouse, package, account)
    moved = rows("select code, cash from ledger.activities where account_id = %s and kind = 'other'", account)
    assert moved == [(booking["kind"], Decimal(booking.get("cash", 0)))]


def test_both_names_of_a_rename_are_booked(exchange, warehouse, package, account):
    exchange.act("book", kind="NC", symbol="ALPHA", qty="-485")
    exchange.act("book", kind="NC", symbol="BETA", qty="485")
    assert main(["reconcile"]) == 0
    _walk_to_the_next_fill(exchange, warehouse, package, account)


def test_what_is_adopted_is_dated_to_the_look_at_it(exchange, account):
    exchange.act("move", symbol="ALPHA", qty="1")
    looked = DAYS[1].opens + timedelta(hours=3)
    exchange.advance(looked)
    assert main(["adopt", "--all", "--reason", "a gift"]) == 0
    # by this time `results.equity` dates the gift
    newest = rows(
        "select outcome, reconciliations.broker_time >= %s from ledger.reconciliations"
        " inner join ledger.adoptions using (account_id) where account_id = %s and reconciled_at <= adopted_at"
        " and finding = 'PositionDiffers' order by reconciliation_id desc limit 1",
        looked,
        account,
    )
    assert newest == [("discrepancy", True)]


def test_only_what_was_named_is_adopted(exchange, account, capsys):
    _leave_a_position(exchange)
    exchange.act("move", symbol="ZZZ", qty="2")
    assert main(["reconcile"]) == 1
    order = next(o["id"] for o in exchange.book()["orders"] if o["client_order_id"] == "by-hand")
    assert main(["adopt", "--about", order, "--reason", "mine"]) == 1
    assert "ZZZ" in capsys.readouterr().out
    assert main(["adopt", "--about", "nonsense", "--reason", "mine"]) == 2
    assert "nothing differs about nonsense" in capsys.readouterr().err
    assert main(["adopt", "--reason", "mine"]) == 2
    assert main(["adopt", "--all", "--reason", " "]) == 2


def test_what_was_adopted_counts_only_as_long_as_the_broker_says_the_same(exchange, account):
    _correct(exchange)
    assert main(["adopt", "--all", "--reason", "corrected"]) == 0
    exchange.act("correct", activity_id=_fill(exchange)["id"], price="90")
    assert main(["reconcile"]) == 1


def test_an_order_by_hand_that_was_adopted_while_open_is_followed(exchange, warehouse, package, account):
    exchange.advance(DAYS[1].closes + AFTER_CLOSE)
    exchange.trade(symbol="BETA", side="buy", qty="3", client_order_id="by-hand")
    assert main(["adopt", "--all", "--reason", "a hedge of mine"]) == 0
    exchange.advance(DAYS[2].opens + AFTER_OPEN)
    assert main(["reconcile"]) == 0
    _assert_sums(exchange, account)


def test_a_reset_is_a_new_epoch_and_the_old_one_stays_readable(exchange, warehouse, package, account):
    old = rows("select execution_id from ledger.fills where account_id = %s", account)
    exchange.act("reset")
    assert main(["reconcile"]) == 1
    assert main(["adopt", "--reset", "--reason", "reset in the dashboard"]) == 0
    assert main(["release", "--account", account, "--reason", "reset"]) == 0
    assert rows("select cash from ledger.cash where account_id = %s", account) == [(100_000,)]
    _walk_to_the_next_fill(exchange, warehouse, package, account)
    assert main(["reconcile"]) == 0
    assert old[0] in rows("select execution_id from ledger.fills where account_id = %s", account)
    assert rows("select epoch_no, reason from ledger.epochs where account_id = %s", account) == [
        (1, "reset in the dashboard")
    ]


def test_a_bar_that_was_decided_before_a_reset_is_decided_again(exchange, warehouse, package, account):
    """The account is hindered, and the bar is not used up: it was lost until the next one."""
    exchange.advance(DAYS[1].closes + AFTER_CLOSE)
    warehouse.publish(DAYS[1], {"ALPHA": 0.25})
    with Session.open([package], exchange.broker(), pause=_no_pause) as session:
        assert [order.side for order in session.decide().sent] == ["sell"]
    exchange.act("reset")
    assert main(["reconcile"]) == 1
    assert main(["adopt", "--reset", "--reason", "reset in the dashboard"]) == 0
    assert main(["release", "--account", account, "--reason", "reset"]) == 0
    with Session.open([package], exchange.broker(), pause=_no_pause) as session:
        step = session.decide()
        assert {(one.symbol, one.attempt) for one in step.decisions} == {("ALPHA", 2), ("BETA", 2)}
        assert [order.side for order in step.sent] == ["buy"]
        assert session.decide().decisions == ()
        exchange.advance(DAYS[2].opens + AFTER_OPEN)
        assert session.settle(timeout=10) == ()
    _assert_sums(exchange, account)


def test_a_reset_that_took_only_an_order_that_was_refused_is_seen(exchange, warehouse, package, monkeypatch):
    """Nothing was traded, so cash and positions are as before; the order that the broker had is not there."""
    monkeypatch.setattr("time.sleep", _no_pause)
    warehouse.publish(DAYS[0], {"ALPHA": 0.5})
    with Session.open([package], exchange.broker(), pause=_no_pause) as session:
        session.decide()
        [order] = exchange.book()["orders"]
        exchange.act("end", order_id=order["id"], status="rejected")
        assert session.reconcile().outcome == "repaired"
        exchange.act("reset")
        exchange.advance(DAYS[1].closes + AFTER_CLOSE)
        assert session.reconcile().outcome == "discrepancy"
        assert "was acknowledged and is not known to the broker" in session.halts()[0]


def test_a_position_of_a_new_epoch_has_neither_entry_nor_aim_of_the_old_one(exchange, warehouse, package, account):
    """Its age and its stop begin anew, and the same target is traded again."""
    known = [_known(package, account)]
    assert main(["adopt", "--reset", "--reason", "wiped, and bought again"]) == 0
    known.append(_known(package, account))
    assert [(entry.filled_at is not None, aim) for entry, aim in known] == [(True, 0.5), (False, None)]


def _known(package, account: str) -> tuple[Entry, float | None]:
    key = (package.model_id, "ALPHA")
    with connect("executor") as connection, connection.cursor() as cursor:
        entry = entries(cursor, account, {key: DAYS[1].opens})[key]
        return entry, aimed_at(cursor, account, [(*key, DAYS[1].opens)]).get(key)


def test_an_epoch_does_not_begin_while_an_order_of_ours_is_open(exchange, warehouse, package, account, capsys):
    exchange.advance(DAYS[1].closes + AFTER_CLOSE)
    warehouse.publish(DAYS[1], {})
    with Session.open([package], exchange.broker(), pause=_no_pause) as session:
        session.decide()
    assert main(["adopt", "--reset", "--reason", "why not"]) == 2
    assert "is open at the broker" in capsys.readouterr().err


@pytest.mark.parametrize("holding", ["", "BETA"])
def test_an_account_with_a_history_is_registered_with_its_opening_state(
    exchange, warehouse, package, monkeypatch, holding, capsys
):
    for name, value in (("KEY_ID", KEY), ("SECRET_KEY", SECRET)):
        monkeypatch.setenv(f"APCA_API_{name}", value)
    monkeypatch.setenv("APCA_API_BASE_URL", exchange.url)
    monkeypatch.setenv("APCA_API_STREAM_URL", exchange.stream_url)
    exchange.trade(symbol="BETA", side="buy", qty="7", client_order_id="last-year-1")
    exchange.advance(DAYS[1].opens + AFTER_OPEN)
    if not holding:
        exchange.trade(symbol="BETA", side="sell", qty="7", client_order_id="last-year-2")
    exchange.advance(DAYS[1].closes + AFTER_CLOSE)
    assert main(["adopt", "--reset", "--reason", "registered with its history"]) == 0
    account = exchange.book()["account_id"]
    warehouse.publish(DAYS[1], {"ALPHA": 0.25, "BETA": 0.25})
    with Session.open([package], exchange.broker(), pause=_no_pause) as session:
        assert len(session.decide().sent) == 2
        exchange.advance(DAYS[2].opens + AFTER_OPEN)
        assert session.settle(timeout=10) == ()
    assert main(["reconcile"]) == 0
    _assert_sums(exchange, account)


@pytest.mark.parametrize("reset", [True, False])
def test_a_symbol_that_is_not_ours_is_held_apart(exchange, warehouse, package, account, reset, capsys):
    exchange.act("book", kind="JNLS", symbol="ZZZ", qty="12")
    exchange.advance(DAYS[1].closes + AFTER_CLOSE)
    warehouse.publish(DAYS[1], {})
    kind = "--reset" if reset else "--all"
    assert main(["adopt", kind, "--hold-apart", "ZZZ", "--reason", "another program's"]) == 0
    main(["release", "--account", account, "--reason", "apart"])
    with Session.open([package], exchange.broker(), pause=_no_pause) as session:
        step = session.decide()
        assert (step.refused, len(step.sent)) == ((), 1)
        exchange.advance(DAYS[2].opens + AFTER_OPEN)
        assert session.settle(timeout=10) == ()
        assert session.reconcile().outcome == "agreed"
    assert {held["symbol"] for held in exchange.book()["positions"]} == {"ZZZ"}
    greedy = SignalPackage(symbols=("ALPHA", "ZZZ"))
    with pytest.raises(Exception, match="holds apart"):
        Session.open([greedy], exchange.broker())


def _no_pause(_: float) -> None:
    pass
