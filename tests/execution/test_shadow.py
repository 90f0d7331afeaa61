"""Decisions in the shadow: those of a session, stored when they are made, dated by the database, never changed."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pandas as pd
import psycopg
import pyarrow
import pytest
from psycopg import errors

from execution import __main__ as command
from execution.continuous import Landings
from execution.session import Session
from execution.shadow import follow
from tests.execution.shadow_world import HOUR, Only, enter_shadow, fresh, list_symbol, publish, seen_of
from tests.execution.test_panels import Ranked
from tests.execution.world import AFTER_CLOSE, AFTER_OPEN, SignalPackage, Warehouse, rows, trading_days
from tests.machine import as_owner
from warehouse.connection import connect
from warehouse.errors import Retry
from warehouse.sessions import ROLES

pytestmark = pytest.mark.database

_INSERT = (
    "insert into ledger.shadow_decisions (model_id, symbol, bar_start, feature_names, feature_values, score,"
    " target_weight) values (%s, %s, %s, '{signal}', '{0.3}', 0.1, 0.3)"
)


def _store(model_id: str, symbol: str, bar_start: datetime) -> tuple[datetime, datetime, bool]:
    with connect("executor") as connection:
        connection.execute(_INSERT, (model_id, symbol, bar_start))
    [stored] = rows(
        "select bar_end, tradable_until, is_late from ledger.shadow_decisions"
        " where model_id = %s and symbol = %s and bar_start = %s",
        *(model_id, symbol, bar_start),
    )
    return stored


def test_a_decision_is_late_once_the_next_open_has_passed(warehouse: Warehouse) -> None:
    now = datetime.now(UTC)
    enter_shadow(warehouse, "late-00000000", now - 100 * HOUR, "OVERNIGHT")
    yesterday, newest = (now - 30 * HOUR, now - 24 * HOUR), (now - 8 * HOUR, now - HOUR)
    following = (now + 16 * HOUR, now + 23 * HOUR)
    list_symbol(warehouse, "OVERNIGHT", "LATE", yesterday, newest, following)
    assert _store("late-00000000", "OVERNIGHT", newest[0]) == (newest[1], following[0], False)
    assert _store("late-00000000", "OVERNIGHT", yesterday[0]) == (yesterday[1], newest[0], True)


@pytest.mark.parametrize(("ago", "is_late"), [(timedelta(minutes=50), False), (timedelta(minutes=61), True)])
def test_where_the_market_goes_on_a_day_may_wait_an_hour(warehouse: Warehouse, ago: timedelta, is_late: bool) -> None:
    now = datetime.now(UTC)
    name, end = f"round-{int(is_late):08}", now - ago
    enter_shadow(warehouse, name, now - 100 * HOUR, name)
    list_symbol(warehouse, name, name, (end - 24 * HOUR, end), (end, end + 24 * HOUR))
    assert _store(name, name, end - 24 * HOUR) == (end, end + HOUR, is_late)


def test_a_calendar_that_ends_lets_nothing_be_in_time(warehouse: Warehouse) -> None:
    now = datetime.now(UTC)
    enter_shadow(warehouse, "ends-00000000", now - 100 * HOUR, "ENDS")
    list_symbol(warehouse, "ENDS", "ENDS", (now - 8 * HOUR, now - HOUR))
    assert _store("ends-00000000", "ENDS", now - 8 * HOUR) == (now - HOUR, None, True)


@pytest.mark.parametrize(
    ("hours", "sentence"),
    [
        (1, "the bar has not ended"),
        (-1, "no session of the symbol has a 1d bar then"),
        (-7, "no session of the symbol has a 1d bar then"),
        (-40, "the bar ended before the model was registered"),
        (-8, "the model is not in the shadow"),
    ],
)
def test_what_cannot_be_decided_is_not_stored(warehouse: Warehouse, hours: int, sentence: str) -> None:
    now = datetime.now(UTC)
    name = f"cannot-{hours}"
    enter_shadow(warehouse, name, now - 30 * HOUR, name)
    sessions = ((now - 40 * HOUR, now - 33 * HOUR), (now - 8 * HOUR, now - 2 * HOUR), (now + HOUR, now + 8 * HOUR))
    list_symbol(warehouse, name, name, *sessions)
    if hours == -8:
        warehouse.enter_state(name, "retired")
    with pytest.raises(errors.CheckViolation, match=sentence):
        _store(name, name, now + hours * HOUR)


def test_a_model_decides_its_own_symbols_alone(warehouse: Warehouse) -> None:
    now = datetime.now(UTC)
    enter_shadow(warehouse, "own-00000000", now - 100 * HOUR, "OWN")
    list_symbol(warehouse, "FOREIGN", "OWN", (now - 8 * HOUR, now - HOUR), (now + HOUR, now + 8 * HOUR))
    with pytest.raises(errors.CheckViolation, match="FOREIGN is no symbol of model own-00000000"):
        _store("own-00000000", "FOREIGN", now - 8 * HOUR)
    with as_owner(past_triggers=True) as connection:
        connection.execute(
            "update research.hypotheses set content = jsonb_build_object('universe', 'owned')"
            " where hypothesis_id = 'own-00000000'"
        )
    warehouse.change("insert into reference.universes values ('owned', 'FOREIGN', '2012-01-01', null)")
    _store("own-00000000", "FOREIGN", now - 8 * HOUR)


def test_nobody_changes_a_decision_or_says_when_it_was_made(warehouse: Warehouse) -> None:
    now = datetime.now(UTC)
    enter_shadow(warehouse, "keep-00000000", now - 100 * HOUR, "KEEP")
    list_symbol(warehouse, "KEEP", "KEEP", (now - 8 * HOUR, now - HOUR), (now + HOUR, now + 8 * HOUR))
    _store("keep-00000000", "KEEP", now - 8 * HOUR)
    with pytest.raises(errors.UniqueViolation):
        _store("keep-00000000", "KEEP", now - 8 * HOUR)
    for said in ("is_late", "decided_at", "bar_end", "tradable_until"):
        with connect("executor") as connection, pytest.raises(errors.InsufficientPrivilege):
            connection.execute(f"insert into ledger.shadow_decisions ({said}) values (default)")
    changes = ("update ledger.shadow_decisions set score = 1", "delete from ledger.shadow_decisions")
    for change in (*changes, "truncate ledger.shadow_decisions"):
        for role in ROLES:
            with connect(role) as connection:
                connection.execute("set transaction read write")
                with pytest.raises(errors.InsufficientPrivilege):
                    connection.execute(change)
        with as_owner() as connection, pytest.raises(psycopg.Error, match="only grows"):
            connection.execute(change)
    for role in set(ROLES) - {"executor"}:
        with connect(role) as connection:
            connection.execute("set transaction read write")
            with pytest.raises(errors.InsufficientPrivilege):
                connection.execute(_INSERT, ("keep-00000000", "KEEP", now))


DAYS = trading_days()
LONG_AGO = datetime(2012, 9, 1, tzinfo=UTC)
SIGNALS = ({"ALPHA": 0.3, "BETA": 0.1}, {"ALPHA": -0.2, "BETA": 1 / 3}, {"ALPHA": 0.0, "BETA": 0.7}, {"ALPHA": 0.4})
_STORED = "select symbol, bar_start, feature_names, feature_values, score, {} from {} where model_id = %s order by 2, 1"


@pytest.mark.parametrize("kind", [SignalPackage, Ranked])
def test_the_shadow_decides_what_a_session_decides(exchange, warehouse, kind):
    trading, hidden = kind(model_id=f"trades-{kind.__name__}"), kind(model_id=f"hidden-{kind.__name__}")
    warehouse.enter_state(trading.model_id, "paper")
    enter_shadow(warehouse, hidden.model_id, LONG_AGO, *hidden.symbols)
    refused = set()
    for day, following, signals in zip(DAYS, DAYS[1:], SIGNALS, strict=False):
        exchange.advance(day.closes + AFTER_CLOSE)
        warehouse.publish(day, signals)
        if day is DAYS[1]:
            silent = "update canonical.ohlcv_1d set volume = 0, high = low where symbol = 'ALPHA' and bar_start = %s"
            warehouse.change(silent, day.opens)
        if day is DAYS[2]:
            unready = "update features.features_1d set is_ready = false where symbol = 'BETA' and bar_start = %s"
            warehouse.change(unready, day.opens)
        with Session.open([trading], exchange.broker()) as session:
            refused |= {(bar.symbol, bar.bar_start, bar.reasons) for bar in session.decide().refused}
            exchange.advance(following.opens + AFTER_OPEN)
            session.settle(timeout=5)
    # whoever was away decides all that landed meanwhile, each bar by itself
    seen = seen_of(hidden)[hidden.model_id]
    stored = rows(_STORED.format("target_weight", "ledger.shadow_decisions"), hidden.model_id)
    assert stored == rows(_STORED.format("target_weight", "ledger.decisions"), trading.model_id)
    assert len(stored) == len(seen.decisions) == 6
    assert {decision.is_late for decision in seen.decisions} == {True}
    assert {(bar.symbol, bar.bar_start, bar.reasons) for bar in seen.refused} == refused
    assert len(refused) == 2


def _today(warehouse: Warehouse, *symbols: str) -> tuple[datetime, datetime]:
    """Symbols of one calendar whose newest session has just ended; its open and close."""
    now = datetime.now(UTC)
    newest = (now - 8 * HOUR, now - timedelta(minutes=5))
    for symbol in symbols:
        warehouse.change("insert into reference.instruments values (%s, 'equity', %s)", symbol, symbols[0])
    list_symbol(warehouse, f"{symbols[0]}.", symbols[0], newest, (now + 16 * HOUR, now + 23 * HOUR))
    fresh(warehouse, *symbols)
    return newest


def test_a_bar_is_decided_when_it_lands_and_once(warehouse: Warehouse) -> None:
    package = SignalPackage("lands-00000000", symbols=("LANDS1", "LANDS2"))
    newest = _today(warehouse, *package.symbols)
    enter_shadow(warehouse, package.model_id, datetime.now(UTC) - 7 * HOUR, *package.symbols)
    assert seen_of(package)[package.model_id].decisions == ()
    publish(warehouse, "LANDS1", *newest, signal=0.3)
    [decision] = seen_of(package)[package.model_id].decisions
    assert (decision.symbol, decision.bar_start, decision.score, decision.weight) == ("LANDS1", newest[0], 0.3 / 3, 0.3)
    assert not decision.is_late
    publish(warehouse, "LANDS2", *newest, signal=0.1)
    assert [one.symbol for one in seen_of(package)[package.model_id].decisions] == ["LANDS2"]
    assert seen_of(package)[package.model_id].decisions == ()


def test_what_ended_before_the_registration_is_not_decided(warehouse: Warehouse) -> None:
    package = SignalPackage("before-00000000", symbols=("BEFORE",))
    newest = _today(warehouse, *package.symbols)
    publish(warehouse, "BEFORE", *newest, signal=0.3)
    enter_shadow(warehouse, package.model_id, newest[1], *package.symbols)
    seen = seen_of(package)[package.model_id]
    assert (seen.decisions, seen.refused, seen.aside) == ((), (), None)


def test_a_panel_waits_in_the_shadow_too(warehouse: Warehouse) -> None:
    package = Ranked("waits-00000000", symbols=("WAITS1", "WAITS2"))
    opens, closes = _today(warehouse, *package.symbols)
    for symbol in package.symbols:
        publish(warehouse, symbol, opens - 72 * HOUR, closes - 72 * HOUR, signal=0)
    enter_shadow(warehouse, package.model_id, datetime.now(UTC) - 7 * HOUR, *package.symbols)
    publish(warehouse, "WAITS1", opens, closes, signal=0.1)
    [bar] = seen_of(package, waits=True)[package.model_id].refused
    assert (bar.symbol, bar.reasons) == ("WAITS1", ("PanelComplete: it waits for the bar of WAITS2",))
    publish(warehouse, "WAITS2", opens, closes, signal=0.2)
    decided = seen_of(package, waits=True)[package.model_id].decisions
    assert {one.symbol: one.weight for one in decided} == {"WAITS1": 0.0, "WAITS2": 0.5}


@dataclass(frozen=True)
class Failing(SignalPackage):
    """Knows nothing of one of its symbols."""

    def target_weights(self, features: pyarrow.Table) -> pd.DataFrame:
        if "SICK2" in features.column("symbol").to_pylist():
            raise ZeroDivisionError("of a hundred")
        return super().target_weights(features)


def test_what_one_model_lacks_is_its_own_affair(warehouse: Warehouse) -> None:
    symbols = ("SICK1", "SICK2")
    newest = _today(warehouse, *symbols)
    well, sick = SignalPackage("well-00000000", symbols=symbols), Failing("sick-00000000", symbols=symbols)
    other = SignalPackage("other-00000000", symbols=symbols, fingerprints={"signal": "0" * 64, "noise": "0" * 64})
    # no test publishes five-minute bars in this database
    gone = SignalPackage("gone-00000000", symbols=symbols, timeframe="5m")
    for package in (other, gone, sick, well):
        enter_shadow(warehouse, package.model_id, datetime.now(UTC) - 7 * HOUR, *package.symbols)
    for symbol in symbols:
        publish(warehouse, symbol, *newest, signal=0.3)
    seen = seen_of(other, gone, sick, well)
    assert [decision.symbol for decision in seen[well.model_id].decisions] == [*symbols]
    assert [decision.symbol for decision in seen[sick.model_id].decisions] == ["SICK1"]
    [refused] = seen[sick.model_id].refused
    assert (refused.symbol, refused.reasons) == ("SICK2", ("Model: ZeroDivisionError: of a hundred",))
    assert "SQL of signal, noise changed" in str(seen[other.model_id])
    assert "the warehouse is not built" in str(seen[gone.model_id])


def test_what_lies_nowhere_is_set_aside_with_a_sentence(warehouse: Warehouse, capsys: pytest.CaptureFixture) -> None:
    enter_shadow(warehouse, "nowhere-00000000", datetime.now(UTC))
    assert command.main(["shadow"]) == 1
    assert "model nowhere-00000000 is set aside: " in capsys.readouterr().out


def test_who_follows_decides_when_a_bar_lands(warehouse: Warehouse) -> None:
    package = SignalPackage("follows-00000000", symbols=("FOLLOWS",))
    newest = _today(warehouse, *package.symbols)
    enter_shadow(warehouse, package.model_id, datetime.now(UTC) - 7 * HOUR, *package.symbols)
    said: list[str] = []

    def tell(line: str) -> None:
        if package.model_id in line:
            said.append(line)
            if len(said) == 1:
                publish(warehouse, "FOLLOWS", *newest, signal=0.3)
                with as_owner() as connection:
                    connection.execute("notify landings, '{}'")

    with Landings.listen() as landings, Only(package) as shadow:
        follow(shadow, landings, lambda: len(said) > 1, tell)
    assert said == [
        "model follows-00000000: decisions: 0, too late to count: 0",
        "model follows-00000000: decisions: 1, too late to count: 0",
    ]


@pytest.mark.parametrize("lost", ["_market", "_connection"])
def test_who_follows_ends_when_a_connection_is_gone(warehouse: Warehouse, lost: str) -> None:
    package = SignalPackage(f"ends{lost}-00000000", symbols=(f"ENDS{lost}",))
    newest = _today(warehouse, *package.symbols)
    enter_shadow(warehouse, package.model_id, datetime.now(UTC) - 7 * HOUR, *package.symbols)
    asked: list[None] = []

    def is_over() -> bool:
        asked.append(None)
        return len(asked) > 40

    with Landings.listen() as landings, Only(package) as shadow:
        connection = shadow._connection if lost == "_connection" else shadow._market._connection

        def tell(line: str) -> None:
            if package.model_id in line and "decisions: 0" in line:
                publish(warehouse, *package.symbols, *newest, signal=0.3)
                with as_owner() as owner:
                    owner.execute("select pg_terminate_backend(%s, 5000)", (connection.info.backend_pid,))
                    owner.execute("notify landings, '{}'")

        with pytest.raises(Retry, match="the warehouse is gone: "):
            follow(shadow, landings, is_over, tell)
