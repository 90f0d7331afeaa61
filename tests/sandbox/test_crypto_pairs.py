"""crypto.yaml beside the tape: what it declares, what stands without it, and how it is refused."""

import re
from pathlib import Path

import pytest

from sandbox.errors import SandboxError
from sandbox.tape import crypto_pairs
from sandbox.tape import files as tape
from sandbox.tape.crypto_pairs import address
from tests.sandbox.crypto_stage import MakeTape, Serve, binance, coingecko, pool_candles, walk
from tests.sandbox.stage import DAYS, daily


@pytest.fixture
def directory(make_tape: MakeTape) -> Path:
    shares = daily("UP", {DAYS[0]: (1, 2, 1, 2)})
    return make_tape(walk("BTCUSDT", 60, 91_240.5, 1) + walk("WIFUSDT", 60, 2.5, 2) + walk("GOLD", 60, 9.5, 3) + shares)


def test_without_a_file_names_tell(directory: Path) -> None:
    pairs = crypto_pairs.load(directory, tape.load(directory))
    assert [(pair.symbol, pair.base, pair.quote, pair.coin, pair.vs_currency) for pair in pairs] == [
        ("BTCUSDT", "BTC", "USDT", "bitcoin", "usd"),
        ("WIFUSDT", "WIF", "USDT", "wif", "usd"),
    ]
    assert (pairs[0].network, pairs[0].pool) == ("eth", address("BTCUSDT"))


def test_the_file_says_what_is_what(directory: Path, serve: Serve) -> None:
    (directory / "crypto.yaml").write_text(
        'BTCUSDT:\nGOLD: {base: XAUT, quote: USDT, coin: tether-gold, supply: 250000, network: eth, pool: "0xAb12"}\n'
    )
    served = serve(directory, "2026-01-30T23:00:00Z")
    symbols = binance(served).get_exchange_info()["symbols"]
    assert [symbol["symbol"] for symbol in symbols] == ["BTCUSDT", "GOLD"]
    chart = coingecko(served).get_coin_market_chart_by_id("tether-gold", "usd", 1)
    assert chart["market_caps"][-1][1] == pytest.approx(250_000 * chart["prices"][-1][1])
    assert pool_candles(served, "0xaB12", "minute").json()["meta"]["base"]["symbol"] == "XAUT"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("BTCUSDT: {coin: [", "is not YAML"),
        ("- BTCUSDT", "must map symbols"),
        ("NOPE: {coin: nope}", "NOPE, which is not on the tape; it holds BTCUSDT, GOLD, UP, WIFUSDT"),
        ("BTCUSDT: bitcoin", "BTCUSDT in .* must be a mapping"),
        ("BTCUSDT: {coins: bitcoin}", "has the key coins; it may have base, quote, coin"),
        ("BTCUSDT: {pool: 0x1234}", "pool of BTCUSDT in .* must be a text; write it in quotes"),
        ("BTCUSDT: {supply: 0}", "supply of BTCUSDT in .* must be a number above 0"),
        ("GOLD: {coin: gold}", "GOLD in .* needs its base and quote"),
        ("{BTCUSDT: {coin: x}, WIFUSDT: {coin: x}}", "gives two symbols the coin x"),
        ('{BTCUSDT: {pool: "0x1"}, WIFUSDT: {pool: "0x1"}}', "gives two symbols the pool 0x1"),
    ],
)
def test_what_is_wrong_is_one_sentence(directory: Path, text: str, said: str) -> None:
    (directory / "crypto.yaml").write_text(text)
    with pytest.raises(SandboxError) as error:
        crypto_pairs.load(directory, tape.load(directory))
    message = str(error.value)
    assert re.search(said, message)
    assert "crypto.yaml" in message
    assert "\n" not in message
