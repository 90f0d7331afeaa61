"""A replay trades at both brokers on one clock: it passes over no bar of either, and one account stops no other."""

from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path

import pytest

from execution.roster import Roster
from flows import replay
from sandbox.broker import binance_wire
from tests.execution.agreement import assert_agree
from tests.execution.spot import (
    PAIRS,
    SPOT_KEY,
    SPOT_SECRET,
    SpotExchange,
    SpotWarehouse,
    assert_spot_agrees,
    spot_exchange,
    write_spot_tape,
)
from tests.execution.world import AFTER_CLOSE, KEY, SECRET, SYMBOLS, SignalPackage, rows, trading_days, write_tape
from warehouse.errors import Retry, Stop

pytestmark = pytest.mark.database

DAYS = trading_days()
# a Monday; the weekend before it has no session of the stock exchange
THROUGH = date(2012, 10, 8)
SESSIONS = [day.opens for day in DAYS if day.day < THROUGH]
UTC_DAYS = [datetime(2012, 10, number, tzinfo=UTC) for number in range(1, 8)]
A_DAY = timedelta(days=1)


@pytest.fixture(scope="module")
def both_tapes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder, aside = tmp_path_factory.mktemp("both"), tmp_path_factory.mktemp("aside")
    write_tape(folder)
    write_spot_tape(aside)
    (aside / "bars.parquet").rename(folder / "coins.parquet")
    return folder


@pytest.fixture
def market(
    both_tapes: Path, tmp_path: Path, ledger_db: None, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> Iterator[SpotExchange]:
    """Both brokers, a quarter of an hour after the first session's close; an account of its own at each."""
    monkeypatch.setattr(binance_wire, "UID", 1_000 + hash(request.node.nodeid) % 1_000_000_000)
    exchange = spot_exchange(both_tapes, tmp_path, DAYS[0].closes + AFTER_CLOSE)
    for name, value in {
        "APCA_API_KEY_ID": KEY,
        "APCA_API_SECRET_KEY": SECRET,
        "APCA_API_BASE_URL": exchange.url,
        "APCA_API_STREAM_URL": exchange.stream_url,
        "BINANCE_TRADING_KEY": SPOT_KEY,
        "BINANCE_TRADING_SECRET": SPOT_SECRET,
        "BINANCE_TRADING_URL": exchange.spot_url,
        "BINANCE_TRADING_SOCKET_URL": exchange.spot_socket_url,
    }.items():
        monkeypatch.setenv(name, value)
    yield exchange
    exchange.stop()


class Loader:
    """Lands what has closed by the market's clock, each bar once; every other one is bought, and then sold."""

    def __init__(self, exchange: SpotExchange) -> None:
        self._exchange, self._warehouse = exchange, SpotWarehouse()
        for symbol in SYMBOLS:
            self._warehouse.change("insert into features.freshness_1d values (%s, '1d', null, null, null)", symbol)
        self._sessions, self._ends = iter(DAYS), iter(day + A_DAY for day in UTC_DAYS)
        self._next = {"polygon": next(self._sessions), "binance": next(self._ends)}
        self.landings = 0
        self.dies_at = None

    def roster(self) -> Roster:
        shares = SignalPackage(model_id="shares-00000000")
        coins = SignalPackage(model_id="coins-00000000", symbols=PAIRS)
        for package in (shares, coins):
            self._warehouse.enter_state(package.model_id, "paper")
        return Roster({"alpaca": (shares,), "binance": (coins,)})

    def land(self, source: str, *_: object) -> None:
        self.landings += 1
        if self.landings == self.dies_at:
            raise KeyboardInterrupt
        now = datetime.fromisoformat(self._exchange.spot()["now"])
        while (due := self._next[source]) and (due.closes if source == "polygon" else due) <= now:
            if source == "polygon":
                self._warehouse.publish(due, dict.fromkeys(SYMBOLS, 0.2 * (due.day.day % 2)))
                self._next[source] = next(self._sessions)
            else:
                self._warehouse.close_bar(due, dict.fromkeys(PAIRS, 0.2 * (due.day % 2)))
                self._next[source] = next(self._ends, None)


@pytest.fixture
def loader(market: SpotExchange, monkeypatch: pytest.MonkeyPatch) -> Loader:
    loader = Loader(market)
    monkeypatch.setattr(replay, "land_newest", loader.land)
    return loader


def run(market: SpotExchange, models: Roster) -> int:
    clock = replay.SteppedClock(f"{market.url}/sandbox/clock")
    return replay.replay.fn(models, clock, THROUGH, DAYS[0].day)


def accounts(market: SpotExchange) -> tuple[str, str]:
    return market.book()["account_id"], f"binance-{market.spot()['uid']}"


def decided(account: str) -> dict[str, list[datetime]]:
    """The starts of the bars that were decided, by symbol."""
    found = rows(
        "select symbol, array_agg(bar_start order by bar_start) from ledger.decisions where account_id = %s"
        " group by symbol",
        account,
    )
    return dict(found)


def assert_every_bar_was_decided_once_and_all_agrees(market: SpotExchange) -> None:
    shares, coins = accounts(market)
    assert decided(shares) == dict.fromkeys(SYMBOLS, SESSIONS)
    assert decided(coins) == dict.fromkeys(PAIRS, UTC_DAYS)
    assert_agree(market.book())
    assert_spot_agrees(market.spot())
    assert {order["status"] for order in (*market.book()["orders"], *market.spot()["orders"])} == {"filled", "FILLED"}
    assert rows("select count(*) from ledger.halts where account_id = any(%s)", [shares, coins]) == [(0,)]


def test_both_brokers_are_traded_and_no_bar_is_passed_over(market, loader):
    models = loader.roster()
    sent = run(market, models)
    assert sent == len(market.book()["orders"]) + len(market.spot()["orders"])
    assert_every_bar_was_decided_once_and_all_agrees(market)
    assert {order["time"] // 1_000 % 86_400 for order in market.spot()["orders"]} == {15 * 60}
    # at the last session's close there is nothing left to do
    assert datetime.fromisoformat(market.spot()["now"]) == datetime.combine(THROUGH, time(20, 15), tzinfo=UTC)
    assert run(market, models) == 0
    assert_every_bar_was_decided_once_and_all_agrees(market)


@pytest.mark.parametrize("landing", [2, 7])
def test_an_interrupted_replay_goes_on_and_repeats_nothing(market, loader, landing):
    models = loader.roster()
    loader.dies_at = landing
    with pytest.raises(KeyboardInterrupt):
        run(market, models)
    run(market, models)
    assert_every_bar_was_decided_once_and_all_agrees(market)


def test_what_passes_costs_no_account_a_bar(market, loader, monkeypatch):
    """A vendor's error is tried again while the clock stands; one that stays stops all, and the next replay goes on."""
    monkeypatch.setattr(replay, "_SECONDS_BEFORE_TRIES", (0.0, 0.0))
    models = loader.roster()
    land, fails = loader.land, {"binance": [3, 4], "polygon": [6]}

    def land_or_fail(source: str, *rest: object) -> None:
        if loader.landings in fails[source]:
            fails[source].remove(loader.landings)
            loader.landings += 1
            raise Retry(f"{source} is overloaded")
        land(source, *rest)

    monkeypatch.setattr(replay, "land_newest", land_or_fail)
    run(market, models)
    assert fails == {"binance": [], "polygon": []}
    assert_every_bar_was_decided_once_and_all_agrees(market)


def test_what_does_not_pass_is_met_again_by_the_next_replay(market, loader, monkeypatch):
    monkeypatch.setattr(replay, "_SECONDS_BEFORE_TRIES", (0.0, 0.0))
    models = loader.roster()
    land = loader.land

    def land_or_fail(source: str, *rest: object) -> None:
        if source == "binance" and loader.landings > 3:
            raise Retry("binance is overloaded")
        land(source, *rest)

    monkeypatch.setattr(replay, "land_newest", land_or_fail)
    with pytest.raises(Retry, match="overloaded"):
        run(market, models)
    monkeypatch.setattr(replay, "land_newest", land)
    run(market, models)
    assert_every_bar_was_decided_once_and_all_agrees(market)


def test_what_stops_one_account_stops_no_other(market, loader, monkeypatch):
    monkeypatch.delenv("BINANCE_TRADING_KEY")
    with pytest.raises(Stop, match="no Binance keys"):
        run(market, loader.roster())
    assert decided(accounts(market)[0]) == dict.fromkeys(SYMBOLS, SESSIONS)
    assert market.spot()["orders"] == []


def test_an_account_that_halts_in_the_middle_stops_no_other(market, loader, monkeypatch):
    models = loader.roster()
    land = loader.land

    def land_and_deposit(source: str, *rest: object) -> None:
        land(source, *rest)
        if loader.landings == 4:
            market.act("spot move", asset="USDT", units="7")

    monkeypatch.setattr(replay, "land_newest", land_and_deposit)
    with pytest.raises(Stop, match="cash"):
        run(market, models)
    shares, coins = accounts(market)
    assert decided(shares) == dict.fromkeys(SYMBOLS, SESSIONS)
    assert 0 < len(decided(coins)["BTCUSDT"]) < len(UTC_DAYS)
    assert rows("select count(*) from ledger.halts where account_id = %s", shares) == [(0,)]
