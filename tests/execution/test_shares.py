"""Each model's share of a position: exact, always the whole together, and nobody else's business."""

from collections.abc import Mapping
from decimal import Decimal
from fractions import Fraction
from itertools import permutations
from pathlib import Path

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from psycopg import errors

from tests.execution.agreement import assert_shares_hold
from tests.execution.booked import ACCOUNT, FILL, book
from tests.machine import as_owner
from warehouse.connection import connect
from warehouse.versions import available

pytestmark = pytest.mark.database

MODELS = ("a", "b", "c")
UNITS = st.one_of(st.integers(1, 20).map(Decimal), st.decimals("0.000000001", "1000", places=9))
SIGNED = st.tuples(st.sampled_from((1, -1)), UNITS).map(lambda drawn: drawn[0] * drawn[1])
FEES = st.one_of(
    st.just((Decimal(0), None)), st.tuples(st.decimals("0", "0.01", places=9), st.sampled_from((None, "X", "Z")))
)
BOOKINGS = st.lists(
    st.one_of(
        st.tuples(st.just("order"), st.sampled_from(MODELS), SIGNED, FEES),
        st.tuples(st.just("flatten"), SIGNED, FEES),
        st.tuples(st.sampled_from(("activity", "adoption")), SIGNED),
        st.tuples(st.just("cross"), st.sampled_from((None, *MODELS)), st.sampled_from(MODELS), UNITS),
        st.tuples(st.just("close")),
        st.tuples(st.just("epoch")),
    ),
    max_size=15,
)
DECISIONS = """
insert into ledger.decisions (decision_id, account_id, model_id, symbol, timeframe, bar_start, bar_end, broker_time,
    feature_names, feature_values, score, target_weight)
select %(account)s || model || side, %(account)s, model, 'X', '1d', case side when 'buy' then date '2020-01-01' else
    '2020-01-02' end, '2020-01-03', '2020-01-03', '{}', '{}', 0, 0
from unnest(array['a', 'b', 'c']) as model, unnest(array['buy', 'sell']) as side
"""
ORDERS = """
insert into ledger.intents (client_order_id, decision_id, halt_id, broker_time, account_id, symbol, side, quantity,
    order_type, time_in_force, reference_price, verdict)
select decision_id, decision_id, null::bigint, null::timestamptz, account_id, symbol,
    case when decision_id like '%%buy' then 'buy' else 'sell' end, 1e9, 'market', 'day', 100, 'approved'
from ledger.decisions where account_id = %(account)s
union all
select account_id || 'flatten' || side, null, halt_id, '2020-01-03', account_id, 'X', side, 1e9, 'market', 'day',
    100, 'approved'
from ledger.halts, unnest(array['buy', 'sell']) as side where account_id = %(account)s
"""


CROSSING_DECISION = """
insert into ledger.decisions (decision_id, account_id, model_id, symbol, timeframe, bar_start, bar_end, broker_time,
    feature_names, feature_values, score, target_weight, price, wanted)
values (%(name)s, %(account)s, %(model)s, 'X', '1d', date '2021-01-01' + %(bar)s, '2032-01-01', '2020-01-03',
    '{}', '{}', 0, 0, 100, %(wanted)s)
"""
CROSS = """
insert into ledger.crosses (account_id, symbol, seller_decision_id, buyer_decision_id, quantity, price, broker_time)
values (%s, 'X', %s, %s, %s, 100, '2020-01-03')
"""
ORDER = """
insert into ledger.intents (client_order_id, decision_id, account_id, symbol, side, quantity, order_type, time_in_force,
    reference_price, verdict)
values (%s, %s, %s, 'X', %s, %s, 'market', 'day', %s, 'approved')
"""


@pytest.fixture
def account(warehouse_db: Path, request: pytest.FixtureRequest) -> str:
    """An account of the test's own, in which nothing was booked, with orders of three models and to flatten."""
    name = f"shares of {request.node.name}"
    with connect("executor") as connection:
        connection.execute(ACCOUNT, (name,))
        connection.execute(DECISIONS, {"account": name})
        connection.execute("select ledger.halt_account(%s, 'stop')", (name,))
        connection.execute(ORDERS, {"account": name})
    return name


def _fill(connection, account: str, number: int, name: str, signed: Decimal, fee=Decimal(0), fee_symbol=None) -> None:
    side = "buy" if signed > 0 else "sell"
    values = (account, f"E{number}", f"{account}{name}{side}", "X", side, abs(signed), 1, fee, fee_symbol)
    connection.execute(FILL, values)


def _shares(connection: psycopg.Connection, account: str, symbol: str = "X") -> dict[str | None, Decimal]:
    found = connection.execute(
        "select model_id, amount from ledger.shares where account_id = %s and symbol = %s and amount <> 0",
        (account, symbol),
    )
    return dict(found.fetchall())


def _book(connection: psycopg.Connection, account: str, number: int, booking: tuple) -> None:
    match booking:
        case ("order", model, signed, (fee, fee_symbol)):
            _fill(connection, account, number, model, signed, fee, fee_symbol)
        case ("flatten", signed, (fee, fee_symbol)):
            _fill(connection, account, number, "flatten", signed, fee, fee_symbol)
        case ("activity" | "adoption", signed):
            book(connection, account, number, (booking[0], "X", signed, Decimal(0)))
        case ("cross", seller, buyer, units):
            most = _shares(connection, account).get(seller, Decimal(0))
            units = min(units, abs(most)) if seller is not None else units and most
            if (
                units
                and (seller is None or most > 0)
                and seller != buyer
                and _may_have(connection, account, buyer, units)
            ):
                _cross(connection, account, seller, buyer, units)
        case ("close",):
            if held := sum(_shares(connection, account).values()):
                _fill(connection, account, number, "flatten", -held)
        case ("epoch",):
            book(connection, account, number, booking)


def _cross(connection: psycopg.Connection, account: str, seller: str | None, buyer: str, units: Decimal) -> None:
    """Whatever was decided: one decision of each seller and buyer is made for it, since two pass at most once."""
    [(number,)] = connection.execute("select count(*) from ledger.crosses").fetchall()
    names = []
    for model, wanted in ((seller, -units), (buyer, units)):
        if model is not None:
            names.append(f"{account} {model} {number}")
            values = {"name": names[-1], "account": account, "model": model, "bar": number, "wanted": wanted}
            connection.execute(CROSSING_DECISION, values)
    connection.execute(CROSS, (account, None if seller is None else names[0], names[-1], units))


def _may_have(connection: psycopg.Connection, account: str, buyer: str, units: Decimal) -> bool:
    """Models that stand beside each other are long: what passes is on the side of what the buyer has."""
    return _shares(connection, account).get(buyer, units) * units > 0


def _assert_in_proportion(before: Mapping, after: Mapping, moved: Decimal) -> None:
    """Whoever held a part moved by that part, and by less than a digit of the numbers more or less."""
    total = sum(map(Fraction, before.values()))
    places = max(0, *(-Decimal(one).normalize().as_tuple().exponent for one in (moved, *before.values())))
    for holder in before.keys() | after.keys():
        change = Fraction(after.get(holder, Decimal(0))) - Fraction(before.get(holder, Decimal(0)))
        part = Fraction(moved) * Fraction(before.get(holder, Decimal(0))) / total
        assert abs(change - part) < Fraction(1, 10**places), holder


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(bookings=BOOKINGS)
def test_whatever_is_booked_they_are_the_position_and_on_its_side(account: str, bookings: list[tuple]) -> None:
    with connect("executor") as connection:
        for number, booking in enumerate(bookings):
            before = _shares(connection, account)
            _book(connection, account, number, booking)
            after = _shares(connection, account)
            wrong = connection.execute("select * from ledger.wrong_shares where account_id = %s", (account,)).fetchall()
            assert wrong == []
            held = connection.execute(
                "select sum(quantity) from ledger.positions where account_id = %s and symbol = 'X'", (account,)
            ).fetchone()
            assert sum(after.values()) == (held[0] or 0)
            moved = sum(after.values()) - sum(before.values())
            match booking:
                case ("order", model, *_):
                    others = {name: units for name, units in before.items() if name not in (model, None)}
                    its = before.get(model, Decimal(0)) + before.get(None, Decimal(0)) + moved
                    assert None not in after
                    if its * sum(others.values()) >= 0:
                        # it had enough of its own: the others have what they had
                        assert after == {**others, **({model: its} if its else {})}
                    else:
                        assert after.get(model, Decimal(0)) in (0, sum(after.values()))
                case ("flatten" | "activity" | "adoption", *_):
                    if sum(before.values()):
                        _assert_in_proportion(before, after, moved)
                    else:
                        assert after == ({None: moved} if moved else {})
                case ("cross", seller, buyer, _):
                    assert moved == 0
                    passed = before.get(seller, Decimal(0)) - after.get(seller, Decimal(0))
                    if seller != buyer:
                        assert after.get(buyer, Decimal(0)) - before.get(buyer, Decimal(0)) == passed
                    assert {**after, seller: 0, buyer: 0} == {**before, seller: 0, buyer: 0}
                case ("close",):
                    assert after == {}
                case ("epoch",):
                    assert after.keys() <= {None}
        connection.rollback()


def test_fills_in_any_order_come_to_the_same(account: str) -> None:
    fills = [("a", Decimal(7)), ("b", Decimal("2.5")), ("a", Decimal("0.25")), ("c", Decimal(4)), ("b", Decimal(1))]
    with connect("executor") as connection:
        for order in permutations(enumerate(fills)):
            for number, (model, units) in order:
                _fill(connection, account, number, model, units)
            assert _shares(connection, account) == {"a": Decimal("7.25"), "b": Decimal("3.5"), "c": 4}
            connection.rollback()


@pytest.mark.parametrize(
    ("booked", "shares"),
    [
        # what a fee takes out of what was bought is the buyer's
        ([("order", "a", "1", "X"), ("order", "b", "2", None)], {"a": "0.999", "b": "2"}),
        # a split of 2:1
        ([("order", "a", "20", None), ("order", "b", "10", None), ("activity", "30")], {"a": "40", "b": "20"}),
        # a split of 3:2: a whole share stays whole
        ([("order", "a", "5", None), ("order", "b", "5", None), ("activity", "5")], {"a": "7", "b": "8"}),
        # a hand sold some of it
        ([("order", "a", "8", None), ("order", "b", "2", None), ("adoption", "-5")], {"a": "4", "b": "1"}),
        # flattened in part
        ([("order", "a", "8", None), ("order", "b", "2", None), ("flatten", "-5", None)], {"a": "4", "b": "1"}),
        # nobody's units are steered by whoever trades next, and beside a holder there are none
        ([("adoption", "3"), ("order", "a", "5", None)], {"a": "8"}),
        ([("order", "a", "5", None), ("adoption", "3")], {"a": "8"}),
        # one sells more than it has: the position says so too
        ([("order", "a", "5", None), ("order", "b", "2", None), ("order", "b", "-3", None)], {"a": "4"}),
        ([("order", "a", "5", None), ("order", "b", "2", None), ("order", "b", "-9", None)], {"b": "-2"}),
        ([("order", "a", "-5", None), ("order", "b", "2", None)], {"a": "-3"}),
        # an account begins anew: nobody holds what it opens with
        ([("order", "a", "5", None), ("epoch",), ("adoption", "5")], {None: "5"}),
    ],
)
def test_whose_it_is(account: str, booked: list[tuple], shares: dict[str | None, str]) -> None:
    with connect("executor") as connection:
        for number, (kind, *values) in enumerate(booked):
            match kind, *values:
                case ("order" | "flatten", *named, units, fee_symbol):
                    fee = Decimal("0.001") if fee_symbol else Decimal(0)
                    _book(connection, account, number, (kind, *named, Decimal(units), (fee, fee_symbol)))
                case _:
                    _book(connection, account, number, (kind, *map(Decimal, values)))
        assert _shares(connection, account) == {name: Decimal(units) for name, units in shares.items()}
    assert_shares_hold(account)


def test_a_fee_in_a_third_asset_is_its_holders(account: str) -> None:
    with connect("executor") as connection:
        book(connection, account, 1, ("adoption", "Z", Decimal(1), Decimal(0)))
        _fill(connection, account, 2, "a", Decimal(3), Decimal("0.1"), "Z")
        assert _shares(connection, account, "Z") == {None: Decimal("0.9")}
        assert _shares(connection, account) == {"a": 3}
    assert_shares_hold(account)


def test_no_share_gives_more_than_it_has(account: str) -> None:
    with connect("executor") as connection:
        for number, (model, units) in enumerate((("a", Decimal(5)), ("b", Decimal(2)))):
            _fill(connection, account, number, model, units)
        _cross(connection, account, "a", "b", Decimal("4.5"))
        assert _shares(connection, account) == {"a": Decimal("0.5"), "b": Decimal("6.5")}
        connection.commit()
    for seller, buyer, units in (
        ("a", "b", "0.6"),
        ("a", "b", "-1"),
        ("c", "b", "1"),
        ("b", "b", "1"),
        (None, "a", "1"),
    ):
        with connect("executor") as connection, pytest.raises((errors.CheckViolation, errors.UniqueViolation)):
            _cross(connection, account, seller, buyer, Decimal(units))
    # nor does it give at another bar than it was decided at
    with connect("executor") as connection:
        for name, model, number, wanted in (("gives", "a", 900, -1), ("takes", "b", 901, 1)):
            values = {"name": f"{account} {name}", "account": account, "model": model, "bar": number}
            connection.execute(CROSSING_DECISION, values | {"wanted": wanted})
        with pytest.raises(errors.CheckViolation, match="the decisions are of two bars"):
            connection.execute(CROSS, (account, f"{account} gives", f"{account} takes", Decimal("0.1")))
    # a decision wants more or less, and not both
    with connect("executor") as connection, pytest.raises(errors.CheckViolation, match=r"wanted 4\.5 and -4\.5"):
        connection.execute(
            CROSS.replace("values (%s, 'X', %s, %s, %s, 100", "select account_id, symbol, buyer_decision_id,"
                          " seller_decision_id, 0.1, 100").replace("'2020-01-03')", "'2020-01-03' from ledger.crosses"
                          " where account_id = %s"),
            (account,),
        )  # fmt: skip
    # two decisions pass something once
    with connect("executor") as connection, pytest.raises(errors.CheckViolation, match=r"wanted -4\.5 and 4\.5"):
        connection.execute(
            CROSS.replace("values (%s, 'X', %s, %s, %s, 100", "select account_id, symbol, seller_decision_id,"
                          " buyer_decision_id, 0.1, 100").replace("'2020-01-03')", "'2020-01-03' from ledger.crosses"
                          " where account_id = %s"),
            (account,),
        )  # fmt: skip
    assert_shares_hold(account)


def test_nothing_passes_but_at_the_close_and_in_the_units_that_were_decided(account: str) -> None:
    gives, takes = f"{account} gives", f"{account} takes"

    def cross(connection: psycopg.Connection, units: str, price: str = "100", at: str = "2020-01-03") -> None:
        statement = CROSS.replace("100, '2020-01-03'", "%s, %s")
        connection.execute(statement, (account, gives, takes, Decimal(units), Decimal(price), at))

    def order(connection: psycopg.Connection, name: str, side: str, units: str, price: str = "100") -> None:
        connection.execute(ORDER, (name, name, account, side, Decimal(units), Decimal(price)))

    with connect("executor") as connection:
        _fill(connection, account, 1, "a", Decimal(5))
        for name, model, wanted in ((gives, "a", -2), (takes, "b", 3)):
            values = {"name": name, "account": account, "model": model, "bar": 902, "wanted": wanted}
            connection.execute(CROSSING_DECISION, values)
        # the order is written before the cross
        order(connection, gives, "sell", "0.5")
        connection.commit()
    for refused, words in (
        (lambda its: cross(its, "1", price="99.99"), "it is at 99.99, and they were sized at 100 and 100"),
        (lambda its: cross(its, "1", at="2020-01-02"), "that was decided at 2020-01-03"),
        (lambda its: cross(its, "1.6"), "the decisions wanted -2 and 3 in all"),
        (lambda its: order(its, takes, "buy", "1", price="99"), "is at 99, and its decision was sized at 100"),
        (lambda its: order(its, takes, "sell", "1"), "is to sell 1, and its decision wanted 3"),
        (lambda its: order(its, takes, "buy", "3.1"), "is to buy 3.1, and its decision wanted 3"),
    ):
        with connect("executor") as connection, pytest.raises(errors.CheckViolation, match=words):
            refused(connection)
    with connect("executor") as connection:
        cross(connection, "1.5")
        assert _shares(connection, account) == {"a": Decimal("3.5"), "b": Decimal("1.5")}
        connection.commit()
    with connect("executor") as connection, pytest.raises(errors.CheckViolation, match="and its decision wanted 3"):
        order(connection, takes, "buy", "1.6")
    assert_shares_hold(account)


@pytest.mark.parametrize("table", ["fills", "activities", "adoptions", "epochs"])
def test_a_booking_past_its_trigger_is_found(account: str, table: str) -> None:
    booked = {
        "fills": ("order", "a", Decimal(2), (Decimal(0), None)),
        "activities": ("activity", Decimal(2)),
        "adoptions": ("adoption", Decimal(2)),
        "epochs": ("epoch",),
    }
    wrong = "select differs_from, kept, booked from ledger.wrong_shares where account_id = %s order by 1"
    with as_owner() as owner:
        _book(owner, account, 1, ("adoption", Decimal(2)))
        assert owner.execute(wrong, (account,)).fetchall() == []
        trigger = "restarts_shares" if table == "epochs" else "moves_shares"
        owner.execute(f"alter table ledger.{table} disable trigger {trigger}")
        _book(owner, account, 2, booked[table])
        found = owner.execute(wrong, (account,)).fetchall()
        owner.rollback()
    assert ("the position", 2, 0 if table == "epochs" else 4) in found


def test_an_old_warehouse_has_them_from_who_ordered_last(account: str) -> None:
    """The migration's own statements, past which everything had been booked."""
    script = next(migration.statements for migration in available() if migration.name == "0106_shares")
    older = next(migration.statements for migration in available() if migration.name == "0071_retirements")
    parts = [part.strip() for part in script.split(";\n")]
    fills = [part for part in parts if "insert into ledger." in part and "'beginning', ''" in part]
    fills += [part for part in parts if part.startswith("insert into ledger.shares") and part.endswith("allotments")]
    holders = next(part for part in older.split(";\n") if part.strip().startswith("create view ledger.holders"))
    with as_owner(past_triggers=True) as owner:
        owner.execute("delete from ledger.shares")
        owner.execute("delete from ledger.allotments")
        owner.execute(holders.replace("create view", "create or replace view", 1))
        owner.execute("insert into ledger.balances values (%s, 'X', 5), (%s, 'Z', 1)", (account, account))
        _fill(owner, account, 1, "a", Decimal(2))
        # the order that was written last
        owner.execute(
            "update ledger.intents set written_at = written_at + interval '1 second' where client_order_id = %s",
            (f"{account}bbuy",),
        )
        _fill(owner, account, 2, "b", Decimal(3))
        assert len(fills) == 2
        for statement in fills:
            owner.execute(statement[statement.index("insert into ledger.") :])
        assert _shares(owner, account) == {"b": 5}
        assert _shares(owner, account, "Z") == {None: 1}
        assert owner.execute("select * from ledger.wrong_shares where account_id = %s", (account,)).fetchall() == []
        owner.rollback()


@pytest.mark.parametrize(
    "forgery",
    [
        "update ledger.shares set amount = amount + 1",
        "delete from ledger.shares",
        "truncate ledger.shares",
        "insert into ledger.shares (account_id, symbol, model_id, amount) values ('nobody', 'new', 'm', 1)",
        "update ledger.allotments set quantity = quantity + 1",
        "delete from ledger.allotments",
        "truncate ledger.allotments",
        "insert into ledger.allotments (account_id, symbol, model_id, quantity, cause, cause_id)"
        " values ('nobody', 'new', 'm', 1, 'fill', 'E')",
    ],
)
def test_nobody_writes_them(account: str, forgery: str) -> None:
    for role in ("executor", "operator", "transformer", "trainer"):
        with connect(role) as connection, pytest.raises(errors.InsufficientPrivilege):
            connection.execute(forgery)
    with (
        as_owner() as owner,
        pytest.raises(errors.InsufficientPrivilege, match="only bookings, retirements and epochs"),
    ):
        owner.execute(forgery)
