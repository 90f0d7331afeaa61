"""The roster: a model with which something is wrong is set aside, stored and told; all others trade."""

import shutil
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal

import pytest

from execution import roster
from execution.roster import SetAside, drawn_up
from execution.session import Session
from execution.status import lines
from flows import paper_trade
from flows.attention import NeedsAttention
from models_registry import registry
from models_registry.registry import ModelRecord
from tests.execution.test_model_failures import Odd
from tests.execution.world import KEY, SECRET, SignalPackage, rows, trading_days
from tests.machine import as_owner
from tests.models_registry.conftest import make_candidate
from warehouse.connection import connect
from warehouse.errors import Stop

pytestmark = pytest.mark.database

DAYS = trading_days()
CLASSES = {"ALPHA": "equity", "BETA": "equity", "GAMMA": "equity", "BTCUSDT": "crypto", "GOLD": "metal"}


def _record(package: SignalPackage, **other: object) -> ModelRecord:
    now = datetime(2012, 10, 1, tzinfo=UTC)
    names = dict.fromkeys(("trial_id", "run_id", "hypothesis_id", "package_path", "package_sha256", "reason"), "x")
    record = ModelRecord(
        model_id=package.model_id,
        trained_through=now,
        symbols=list(package.symbols),
        timeframe=package.timeframe,
        state="paper",
        entered_at=now,
        **names,
    )
    return replace(record, **other)


def _model(name: str, *symbols: str, timeframe: str = "1d") -> SignalPackage:
    return SignalPackage(model_id=name, symbols=symbols, timeframe=timeframe)


def _drawn_up(*packages: SignalPackage) -> roster.Roster:
    return drawn_up([(_record(package), package) for package in packages], CLASSES)


def test_models_are_sorted_by_who_trades_them():
    one, two, three = _model("one", "ALPHA"), _model("two", "BTCUSDT", timeframe="4h"), _model("three", "BETA")
    found = _drawn_up(one, two, three)
    assert found.packages == {"alpaca": (one, three), "binance": (two,)}
    assert found.aside == ()
    assert found.shares("alpaca") == {"one": Decimal("0.5"), "three": Decimal("0.5")}


@pytest.mark.parametrize(
    ("odd", "broker", "words"),
    [
        (_model("odd", "ALPHA", "BTCUSDT"), None, "model odd trades at alpaca and binance"),
        (_model("odd", "ZETA"), None, "trades ZETA, which seeds/instruments.csv does not have"),
        (_model("odd", "GOLD"), None, "nobody trades metal"),
        (_model("odd", "GAMMA", timeframe="2h"), "alpaca", "it trades 2h bars, and sessions know 1m"),
        (
            _model("odd", "BETA"),
            "alpaca",
            "model first trades BETA already, and first may be short, and shares of one position are all long",
        ),
    ],
)
def test_what_cannot_be_traded_is_set_aside_alone(odd, broker, words):
    first, last = _model("first", "BETA"), _model("last", "ALPHA")
    found = _drawn_up(first, odd, last)
    assert found.packages == {"alpaca": (first, last)}
    [aside] = found.aside
    assert (aside.model_id, aside.broker) == ("odd", broker)
    assert words in aside.reason
    assert str(aside).startswith("model odd is set aside: ")
    # its share of equity waits for it, so the others trade as they would beside it
    assert found.shares("alpaca")["last"] == Decimal(1) / (3 if broker else 2)


@pytest.fixture
def registered(warehouse, tmp_path, monkeypatch):
    """Makes a model in state paper, on one symbol that is an instrument."""
    monkeypatch.setenv("TRUEBAR_MODELS_DIR", str(tmp_path / "models"))

    def make(symbol: str, universe: str | None = None):
        warehouse.change("insert into reference.instruments values (%s, 'equity', 'XNYS')", symbol)
        package = make_candidate("PASSED", symbol, universe=universe)
        registry.advance(package.model_id, "paper", "passed")
        return package

    made = []
    yield lambda *args: made.append(make(*args)) or made[-1]
    for package in made:
        registry.advance(package.model_id, "retired", "the test is over")


def _gone(folder, package):
    shutil.rmtree(folder)


def _cut_off(folder, package):
    (folder / "booster.ubj").write_bytes(b"nothing like it")


def _another(folder, package):
    """A whole package, and not the one that was registered."""
    shutil.rmtree(folder)
    replace(package, booster=b"another").save(folder)


def _unreadable(folder, package):
    (folder / "manifest.json").write_bytes(b"\xff\xfe{")


def _untrue_verdict(folder, package):
    with as_owner(past_triggers=True) as connection:
        connection.execute("update research.verdicts set verdict = 'FAILED' where trial_id = %s", (_trial(package),))


def _untrue_symbols(folder, package):
    with as_owner(past_triggers=True) as connection:
        connection.execute(
            "update research.families set symbols = '{ELSE}' where family_id = %s", (package.manifest.run_id,)
        )


def _loop(folder, package):
    """A link to itself, over which the file system stumbles."""
    shutil.rmtree(folder)
    folder.symlink_to(folder)


def _trial(package) -> str:
    return package.manifest.trial_id


@pytest.mark.parametrize("spoil", [_gone, _cut_off, _another, _unreadable, _untrue_verdict, _untrue_symbols, _loop])
def test_a_package_or_row_that_cannot_be_true_stops_that_model_alone(registered, nobody_else, tmp_path, spoil):
    symbols = [f"{spoil.__name__.upper()}{number}" for number in (1, 2)]
    odd, sound = map(registered, symbols)
    assert roster.call("paper").aside == ()
    spoil(tmp_path / "models" / odd.model_id, odd)
    found = roster.call("paper")
    assert [package.model_id for package in found.packages["alpaca"]] == [sound.model_id]
    [aside] = found.aside
    assert aside.model_id == odd.model_id
    assert found.shares("alpaca") == {sound.model_id: Decimal(1) / (1 + len(found.aside_at("alpaca")))}
    concerns = "select concern from ledger.model_concerns where model_id = %s order by concern_id"
    assert rows(concerns, odd.model_id) == [(aside.reason,)]
    roster.call("paper")
    assert len(rows(concerns, odd.model_id)) == 1, "what stays as it is is written once"
    assert rows(concerns, sound.model_id) == []
    with connect("executor") as connection:
        assert any(aside.reason in line and odd.model_id in line for line in lines(connection))


def test_a_model_of_a_universe_stays_when_a_member_joins(warehouse, registered, nobody_else):
    package = registered("FOUNDER", "founders")
    warehouse.change("insert into reference.instruments values ('JOINER', 'equity', 'XNYS')")
    warehouse.change("insert into canonical.ohlcv_1d values ('FOUNDER', '2012-10-01 13:30+0', '2012-10-01 20:00+0', 1)")
    for symbol in ("FOUNDER", "JOINER"):
        warehouse.change("insert into reference.universes values ('founders', %s, '2012-01-01', null)", symbol)
    found = roster.call("paper")
    assert found.aside == ()
    [trading] = found.packages["alpaca"]
    assert (trading.model_id, trading.symbols) == (package.model_id, ("FOUNDER", "JOINER"))


def test_a_model_that_was_mended_is_told_no_more(registered, nobody_else, tmp_path):
    package = registered("MENDED")
    folder = tmp_path / "models" / package.model_id
    folder.rename(tmp_path / "elsewhere")
    assert len(roster.call("paper").aside) == 1
    (tmp_path / "elsewhere").rename(folder)
    assert roster.call("paper").aside == ()
    concerns = rows(
        "select concern from ledger.model_concerns where model_id = %s order by concern_id desc", package.model_id
    )
    assert concerns[0] == ("",)
    with connect("executor") as connection:
        assert not any(package.model_id in line for line in lines(connection))


@pytest.fixture
def at_exchange(exchange, monkeypatch):
    for name, value in (("KEY_ID", KEY), ("SECRET_KEY", SECRET)):
        monkeypatch.setenv(f"APCA_API_{name}", value)
    monkeypatch.setenv("APCA_API_BASE_URL", exchange.url)
    monkeypatch.setenv("APCA_API_STREAM_URL", exchange.stream_url)


def test_the_flows_end_names_who_was_set_aside_and_the_others_traded(
    exchange, nobody_else, warehouse, package, at_exchange, monkeypatch
):
    warehouse.publish(DAYS[0], {"ALPHA": 0.5})
    found = roster.Roster({"alpaca": (package,)}, (SetAside("odd", None, "its package is gone"),))
    monkeypatch.setattr(paper_trade, "models_to_trade", lambda: found)
    monkeypatch.setattr(paper_trade, "ingest", lambda *_: None)
    monkeypatch.setattr(paper_trade, "decide", paper_trade.decide.fn)
    with pytest.raises(NeedsAttention, match="1 orders sent; model odd is set aside: its package is gone"):
        paper_trade.paper_trade.fn()
    assert [order["symbol"] for order in exchange.book()["orders"]] == ["ALPHA"]


def test_a_model_that_fails_is_stored_until_it_answers(exchange, warehouse, package):
    warehouse.publish(DAYS[0], {"ALPHA": 0.25, "BETA": 0.5})
    concerns = "select concern from ledger.model_concerns where model_id = %s order by concern_id"
    before = rows(concerns, package.model_id)
    with Session.open([Odd(how="raises")], exchange.broker()) as session:
        session.decide()
        session.decide()
        words = "it failed on ALPHA: ZeroDivisionError: division by zero"
        assert rows(concerns, package.model_id)[len(before) :] == [(words,)]
        session._packages = (package,)
        session.decide()
        assert rows(concerns, package.model_id)[len(before) :] == [(words,), ("",)]


def test_only_a_session_says_that_a_model_answers_again(exchange, warehouse, package, monkeypatch):
    monkeypatch.setattr(roster, "load", lambda one: package if one.model_id == package.model_id else "not here")
    concern = "select concern from ledger.model_concerns where model_id = %s order by concern_id desc limit 1"
    warehouse.publish(DAYS[0], {"ALPHA": 0.25, "BETA": 0.5})
    with Session.open([Odd(how="raises")], exchange.broker()) as session:
        session.decide()
        roster.call("paper")
        assert rows(concern, package.model_id) == [("it failed on ALPHA: ZeroDivisionError: division by zero",)]
    # the next session knows nothing of it but what it decides
    with Session.open([package], exchange.broker()) as session:
        session.decide()
        assert rows(concern, package.model_id) == [("",)]
    with connect("executor") as connection:
        roster.note(connection.cursor(), {package.model_id: "its package is gone"})
    roster.call("paper")
    assert rows(concern, package.model_id) == [("",)]


def test_a_model_that_wants_what_is_held_apart_is_set_aside_alone(exchange, warehouse):
    pair = [_model("apart-1", "ALPHA"), _model("sound-1", "BETA")]
    for each in pair:
        warehouse.enter_state(each.model_id, "paper")
    warehouse.publish(DAYS[0], {"ALPHA": 0.25, "BETA": 0.5})
    with Session.open(pair, exchange.broker()) as session:
        session._ledger.hold_apart(["ALPHA"], "another program's")
    with Session.open(pair, exchange.broker()) as session:
        assert [order.symbol for order in session.decide().sent] == ["BETA"]
        assert session.concerns() == (
            "model apart-1 is set aside: it trades ALPHA, which the account holds apart: it is not ours",
        )
    with pytest.raises(Stop, match="model apart-1 is set aside"):
        Session.open(pair[:1], exchange.broker())
