"""Each fault of the plan as clients meet it, the same for the same seed, and plans that cannot be read."""

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
import requests
from binance.exceptions import BinanceAPIException, BinanceRequestException
from polygon.exceptions import BadResponse

from sandbox.errors import SandboxError
from sandbox.faults import plan as fault_plan
from sandbox.tape import files as tape
from sandbox.tape.crypto_pairs import address
from tests.sandbox.crypto_stage import MakeTape, Serve, binance, coingecko, milliseconds, pool_candles, walk
from tests.sandbox.stage import DAYS, Served, daily

ROWS = walk("BTCUSDT", 600, 91_240.5, seed=41)
STARTS = [milliseconds(row[2]) for row in ROWS]
END = "2026-01-31T08:00:00Z"
LATER = "2026-02-01T08:00:00Z"
SHARES = daily("UP", {day: (100.0 + i, 101.0 + i, 99.0 + i, 100.5 + i) for i, day in enumerate(DAYS)})
TRUTH = {start: [f"{value:.8f}" for value in row[3:]] for start, row in zip(STARTS, ROWS, strict=True)}

Spoil = Callable[..., Served]


@pytest.fixture
def spoil(serve: Serve, make_tape: MakeTape, tmp_path: Path) -> Spoil:
    """spoil(vendor, fault, …) serves a tape with this one fault; rate 1 unless told."""

    def start(vendor: str, fault: str, seed: int = 7, **options: object) -> Served:
        path = tmp_path / f"{vendor}-{fault}-{seed}.yaml"
        rule = {"fault": fault, "rate": 1, **options}
        path.write_text(json.dumps({"seed": seed, "vendors": {vendor: [rule]}}))
        return serve(make_tape(ROWS + SHARES), END, faults=path)

    return start


def klines(served: Served, **query: int) -> list[list]:
    window = {"startTime": STARTS[0], "endTime": STARTS[-1], "limit": 1000, **query}
    return binance(served).get_klines(symbol="BTCUSDT", interval="1m", **window)


def right(row: list) -> bool:
    return row[1:6] == TRUTH[row[0]]


def test_missing_bars_are_gone_for_good_and_pages_stay_full(spoil: Spoil) -> None:
    served = spoil("binance", "missing_bars", rate=0.5)
    rows = klines(served)
    assert 250 < len(rows) < 350
    assert all(map(right, rows))
    assert len(klines(served, limit=100)) == 100
    assert klines(served, limit=100) == rows[:100]
    assert binance(served).get_klines(symbol="BTCUSDT", interval="1m", limit=100, endTime=STARTS[-1]) == rows[-100:]


def test_duplicates(spoil: Spoil) -> None:
    rows = klines(spoil("binance", "duplicates", rate=0.1))
    assert {row[0] for row in rows} == set(STARTS)
    assert 20 < len(rows) - len(STARTS) < 100
    assert all(map(right, rows))


def test_disorder(spoil: Spoil) -> None:
    rows = klines(spoil("binance", "disorder", rate=0.1))
    assert sorted(row[0] for row in rows) == STARTS
    assert [row[0] for row in rows] != STARTS
    assert all(map(right, rows))


def test_late_revisions_become_right(spoil: Spoil) -> None:
    served = spoil("binance", "late_revision", rate=0.2, after_minutes=120)
    wrong = [row for row in klines(served) if not right(row)]
    assert wrong
    assert all(row[0] + 60_000 > milliseconds(END) - 120 * 60_000 for row in wrong)
    assert all(float(row[3]) <= float(row[4]) <= float(row[2]) for row in wrong)
    served.advance(LATER)
    assert all(map(right, klines(served)))


def test_bad_ticks_are_spikes_crossed_bars_and_zeros(spoil: Spoil) -> None:
    wrong = [row for row in klines(spoil("binance", "bad_tick", rate=0.2)) if not right(row)]
    assert 80 < len(wrong) < 160
    close = [float(row[4]) for row in wrong]
    assert any(price == 0 for price in close)
    assert any(price > 130_000 for price in close)
    assert any(float(row[2]) < float(row[3]) for row in wrong)


def test_unit_errors_are_a_hundredfold(spoil: Spoil) -> None:
    wrong = [row for row in klines(spoil("binance", "unit_error", rate=0.2)) if not right(row)]
    assert 80 < len(wrong) < 160
    for row in wrong:
        truth = [float(value) * 100 for value in TRUTH[row[0]][:4]]
        assert [float(value) for value in row[1:5]] == pytest.approx(truth)


def test_bars_of_every_vendor_are_struck(spoil: Spoil) -> None:
    served = spoil("polygon", "unit_error", symbols=["UP"])
    (first, *_) = served.polygon.get_aggs("UP", 1, "day", "2012-11-01", "2012-12-31", adjusted=False)
    assert (first.open, first.close) == (10_000, 10_050)
    served = spoil("geckoterminal", "missing_bars")
    assert pool_candles(served, address("BTCUSDT"), "minute").json()["data"]["attributes"]["ohlcv_list"] == []
    served = spoil("coingecko", "missing_bars")
    assert coingecko(served).get_coin_ohlc_by_id("bitcoin", "usd", 1) == []
    assert coingecko(served).get_coin_market_chart_by_id("bitcoin", "usd", 1)["prices"] == []


def test_truncated_json(spoil: Spoil) -> None:
    with pytest.raises(BinanceRequestException):
        klines(spoil("binance", "truncated_json"))
    with pytest.raises(ValueError, match=r"Expecting|Unterminated|delimiter"):
        coingecko(spoil("coingecko", "truncated_json")).get_coin_ohlc_by_id("bitcoin", "usd", 1)


def test_a_good_status_without_results(spoil: Spoil) -> None:
    assert klines(spoil("binance", "no_results")) == []
    assert spoil("polygon", "no_results").polygon.get_aggs("UP", 1, "day", "2012-11-01", "2012-12-31") == []
    assert pool_candles(spoil("geckoterminal", "no_results"), address("BTCUSDT"), "hour").json() == {}


def test_refused_keys(spoil: Spoil) -> None:
    with pytest.raises(BinanceAPIException) as refusal:
        klines(spoil("binance", "unauthorized"))
    assert (refusal.value.status_code, refusal.value.code) == (401, -2015)
    with pytest.raises(ValueError, match="10002"):
        coingecko(spoil("coingecko", "unauthorized")).ping()
    with pytest.raises(BadResponse, match="Unknown API Key"):
        spoil("polygon", "unauthorized").polygon.get_market_status()


@pytest.mark.long
def test_rate_limits_say_when_to_come_back_where_the_vendor_does(spoil: Spoil) -> None:
    with pytest.raises(BinanceAPIException) as refusal:
        klines(spoil("binance", "rate_limited", retry_after=3))
    assert (refusal.value.status_code, refusal.value.code) == (429, -1003)
    assert refusal.value.response.headers["Retry-After"] == "3"
    answer = pool_candles(spoil("geckoterminal", "rate_limited"), address("BTCUSDT"), "hour")
    assert (answer.status_code, "Retry-After" in answer.headers) == (429, False)
    served = spoil("coingecko", "rate_limited", rate=0.6, retry_after=1)
    assert all(coingecko(served, retries=30).ping() for _ in range(3))  # the client waits as told and tries again
    assert served.ask("/sandbox/faults")["answers"]["coingecko"]["rate_limited"] > 1


def test_bans(spoil: Spoil) -> None:
    with pytest.raises(BinanceAPIException, match="IP banned until") as refusal:
        klines(spoil("binance", "banned", retry_after=120))
    assert (refusal.value.status_code, refusal.value.response.headers["Retry-After"]) == (418, "120")


@pytest.mark.parametrize(("status", "code"), [(500, -1001), (502, 0), (503, -1008), (504, 0)])
def test_server_errors(spoil: Spoil, status: int, code: int) -> None:
    with pytest.raises(BinanceAPIException) as refusal:
        klines(spoil("binance", "server_error", status=status))
    assert (refusal.value.status_code, refusal.value.code) == (status, code)


def test_stalls_outlast_a_timeout(spoil: Spoil) -> None:
    """A client with less patience than the stall gives up; one with more is answered."""
    client = binance(spoil("binance", "stall", seconds=5))
    client.REQUEST_TIMEOUT = 0.3
    with pytest.raises(requests.exceptions.ReadTimeout):
        client.ping()
    client = binance(spoil("binance", "stall", seconds=0.5))
    client.REQUEST_TIMEOUT = 60
    assert client.ping() == {}


def test_a_renamed_field(spoil: Spoil) -> None:
    served = spoil("geckoterminal", "renamed_field", field="ohlcv_list", to="ohlcv")
    assert set(pool_candles(served, address("BTCUSDT"), "hour").json()["data"]["attributes"]) == {"ohlcv"}
    served = spoil("polygon", "renamed_field", field="c", to="close")
    body = json.loads(served.polygon.get_aggs("UP", 1, "day", "2012-11-01", "2012-12-31", raw=True).data)
    assert all("close" in row and "c" not in row for row in body["results"])


def test_the_seed_decides_and_nothing_else(spoil: Spoil) -> None:
    def fate(seed: int, warm_up: int) -> list[int]:
        served = spoil("binance", "server_error", seed, rate=0.5)
        for _ in range(warm_up):
            requests.get(f"{served.url}/binance/api/v3/time", timeout=10)
        return [requests.get(f"{served.url}/binance/api/v3/ping", timeout=10).status_code for _ in range(30)]

    assert fate(1, 0) == fate(1, 5) != fate(2, 0)
    gone = [tuple(row[0] for row in klines(spoil("binance", "missing_bars", seed, rate=0.2))) for seed in (1, 1, 2)]
    assert gone[0] == gone[1] != gone[2]


def test_a_window_bounds_the_bars_and_the_clock(spoil: Spoil) -> None:
    bounds = {"from": "2026-01-31T00:00:00Z", "until": "2026-01-31T01:00:00Z"}
    rows = {row[0] for row in klines(spoil("binance", "missing_bars", **bounds))}
    gone = sorted(set(STARTS) - rows)
    assert (gone[0], gone[-1], len(gone)) == (milliseconds(bounds["from"]), milliseconds(bounds["until"]) - 60_000, 60)
    served = spoil("binance", "unauthorized", until="2026-01-31T09:00:00Z")
    with pytest.raises(BinanceAPIException):
        binance(served).ping()
    served.advance(LATER)
    assert binance(served).ping() == {}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("seed: [", "is not YAML"),
        ("faults: 1", "must have a seed and vendors"),
        ("vendors: {}", "seed in .* must be a whole number, not None"),
        ("seed: 1", "vendors in .* must map polygon, binance"),
        ("{seed: 1, vendors: {kraken: []}}", "names the vendor kraken; it may name polygon"),
        ("{seed: 1, vendors: {binance: stall}}", "binance in .* must be a list"),
        ("{seed: 1, vendors: {binance: [stall]}}", "Fault 1 of binance in .* must be a mapping"),
        ("{seed: 1, vendors: {binance: [{fault: gremlin, rate: 1}]}}", "is gremlin; a fault is one of missing_bars"),
        ("{seed: 1, vendors: {binance: [{fault: stall}]}}", "rate of Fault 1 .* from 0 to 1, not None"),
        ("{seed: 1, vendors: {binance: [{fault: stall, rate: 2}]}}", "from 0 to 1, not 2"),
        ("{seed: 1, vendors: {binance: [{fault: stall, rate: 1, secs: 2}]}}", "has secs; stall may have fault, rate"),
        ("{seed: 1, vendors: {polygon: [{fault: banned, rate: 1}]}}", "banned, which only binance does"),
        ("{seed: 1, vendors: {polygon: [{fault: rate_limited, rate: 1, retry_after: 1}]}}", "polygon does not send"),
        ("{seed: 1, vendors: {binance: [{fault: renamed_field, rate: 1, to: x}]}}", "needs field"),
        ("{seed: 1, vendors: {binance: [{fault: disorder, rate: 1, symbols: [NOPE]}]}}", "names NOPE, not on the tape"),
        ("{seed: 1, vendors: {binance: [{fault: stall, rate: 1, from: noon}]}}", "from of .* must be a moment like"),
        ("{seed: 1, vendors: {binance: [{fault: server_error, rate: 1, status: 404}]}}", "one of 500, 502, 503, 504"),
    ],
)
def test_a_plan_that_is_wrong_is_one_sentence(make_tape: MakeTape, tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "faults.yaml"
    path.write_text(text)
    with pytest.raises(SandboxError) as error:
        fault_plan.load(path, tape.load(make_tape(ROWS[:5])))
    message = str(error.value)
    assert re.search(said, message)
    assert "\n" not in message


def test_no_plan_at_all(make_tape: MakeTape, tmp_path: Path) -> None:
    with pytest.raises(SandboxError, match=r"cannot be read: No such file"):
        fault_plan.load(tmp_path / "nowhere.yaml", tape.load(make_tape(ROWS[:5])))
