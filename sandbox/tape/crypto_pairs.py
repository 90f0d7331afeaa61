"""Which symbols of the tape are crypto pairs, and what each vendor calls them.

A tape may say so in ``crypto.yaml`` beside its Parquet files: one entry per symbol. A key that is left out takes its
default.

    BTCUSDT: {base: BTC, quote: USDT, coin: bitcoin, name: Bitcoin, supply: 19900000, network: eth, pool: "0x…"}

Without the file, a symbol that ends in a usual quote currency is a pair.
"""

import hashlib
from dataclasses import dataclass
from pathlib import Path

import yaml

from sandbox.errors import SandboxError
from sandbox.tape.candles import decimals_of
from sandbox.tape.files import Tape

QUOTES = ("FDUSD", "USDT", "USDC", "EUR", "BTC", "ETH")
DOLLARS = {"USDT", "USDC", "FDUSD", "USD"}
COINS = {
    "ADA": "cardano",
    "BNB": "binancecoin",
    "BTC": "bitcoin",
    "DOGE": "dogecoin",
    "ETH": "ethereum",
    "LINK": "chainlink",
    "LTC": "litecoin",
    "SOL": "solana",
    "USDC": "usd-coin",
    "USDT": "tether",
    "XRP": "ripple",
}
TEXTS = ("base", "quote", "coin", "name", "network", "pool")
KEYS = (*TEXTS, "supply")


# the status of a symbol that an exchange lists no more
DELISTED = "DELISTED"


@dataclass(frozen=True, slots=True)
class Pair:
    """A crypto pair: Binance's symbol and currencies, CoinGecko's coin, GeckoTerminal's network and pool address.

    price_decimals and quantity_decimals are what the tape's prices and volumes need.
    """

    symbol: str
    base: str
    quote: str
    coin: str
    name: str
    supply: float
    network: str
    pool: str
    price_decimals: int
    quantity_decimals: int

    @property
    def vs_currency(self) -> str:
        """The quote currency as CoinGecko counts it: dollar coins are dollars."""
        return "usd" if self.quote in DOLLARS else self.quote.lower()


def load(directory: Path, tape: Tape) -> tuple[Pair, ...]:
    """The pairs of a tape, by symbol; SandboxError names the entry of crypto.yaml that is wrong."""
    path = directory / "crypto.yaml"
    if not path.exists():
        return tuple(_pair(symbol, {}, tape) for symbol in tape.symbols if _split(symbol))
    try:
        declared = yaml.safe_load(path.read_text()) or {}
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise SandboxError(f"{path} is not YAML: {' '.join(str(error).split())}") from error
    if not isinstance(declared, dict):
        raise SandboxError(f"{path} must map symbols of the tape to their names, like BTCUSDT: {{coin: bitcoin}}.")
    for symbol, entry in declared.items():
        _check(path, symbol, entry, tape)
    pairs = tuple(_pair(symbol, declared[symbol] or {}, tape) for symbol in sorted(declared))
    for what in ("coin", "pool"):
        names = [(getattr(pair, what), pair.vs_currency if what == "coin" else pair.network) for pair in pairs]
        again = next((name for i, name in enumerate(names) if name in names[:i]), None)
        if again:
            raise SandboxError(f"{path} gives two symbols the {what} {again[0]} ({again[1]}); each needs its own.")
    return pairs


def _check(path: Path, symbol: object, entry: object, tape: Tape) -> None:
    if symbol not in tape.symbols:
        raise SandboxError(f"{path} names {symbol}, which is not on the tape; it holds {', '.join(tape.symbols)}.")
    entry = entry or {}
    if not isinstance(entry, dict):
        raise SandboxError(f"{symbol} in {path} must be a mapping with any of {', '.join(KEYS)}.")
    for key, value in entry.items():
        if key not in KEYS:
            raise SandboxError(f"{symbol} in {path} has the key {key}; it may have {', '.join(KEYS)}.")
        if key in TEXTS and not (isinstance(value, str) and value):
            raise SandboxError(f"{key} of {symbol} in {path} must be a text; write it in quotes.")
        if key == "supply" and (isinstance(value, bool) or not isinstance(value, int | float) or value <= 0):
            raise SandboxError(f"supply of {symbol} in {path} must be a number above 0, not {value}.")
    if not _split(symbol) and not {"base", "quote"} <= set(entry):
        raise SandboxError(f"{symbol} in {path} needs its base and quote: its name does not tell them.")


def _pair(symbol: str, entry: dict, tape: Tape) -> Pair:
    base, quote = _split(symbol) or (None, None)
    base, quote = entry.get("base", base), entry.get("quote", quote)
    coin = entry.get("coin", COINS.get(base, base.lower()))
    bars = tape.bars.get((symbol, "1m"), tape.bars.get((symbol, "1d")))
    return Pair(
        symbol=symbol,
        base=base,
        quote=quote,
        coin=coin,
        name=entry.get("name", coin.replace("-", " ").title()),
        supply=float(entry.get("supply", 1_000_000)),
        network=entry.get("network", "eth"),
        pool=entry.get("pool", address(symbol)),
        price_decimals=max(decimals_of(prices) for prices in (bars.open, bars.high, bars.low, bars.close)),
        quantity_decimals=decimals_of(bars.volume),
    )


def address(name: str) -> str:
    """An address such as Ethereum's, always the same for the same name."""
    return "0x" + hashlib.sha256(name.encode()).hexdigest()[:40]


def _split(symbol: str) -> tuple[str, str] | None:
    for quote in QUOTES:
        if symbol.endswith(quote) and len(symbol) >= len(quote) + 2:
            return symbol.removesuffix(quote), quote
    return None
