"""Which broker trades an instrument: its asset class says so, and one account trades at one broker."""

from collections.abc import Mapping, Sequence
from typing import Protocol

from execution.brokers.base import Broker, Mode
from execution.brokers.named import named, names
from warehouse.connection import connect
from warehouse.errors import Stop
from warehouse.rows import scalar
from warehouse.settings import load

ROUTES = {"equity": "alpaca", "crypto": "binance"}
"""Asset classes of seeds/instruments.csv, and who trades them."""
BROKERS = tuple(ROUTES.values())


class Traded(Protocol):
    """What trades symbols under a name: a model, its package."""

    @property
    def model_id(self) -> str: ...
    @property
    def symbols(self) -> Sequence[str]: ...


def log_in(broker: str, mode: Mode = Mode.PAPER) -> Broker:
    """The account that the settings' keys for this broker belong to, under the product's names of instruments.

    Raises Stop for a broker that truebar does not know, and when there are no keys.
    """
    # a vendor's library takes a second to import, which whoever logs in nowhere need not wait
    match broker:
        case "alpaca":
            from execution.brokers.alpaca import AlpacaBroker

            return named(AlpacaBroker.from_settings(load(), mode=mode))
        case "binance":
            from execution.brokers.binance import BinanceBroker

            by_symbol = names("binance")
            symbols = [by_symbol.get(symbol, symbol) for symbol, of in asset_classes().items() if of == "crypto"]
            return named(BinanceBroker.from_settings(load(), symbols, mode=mode))
    raise Stop(f"truebar knows no broker {broker}: it knows {', '.join(BROKERS)}")


def broker_of(traded: Traded, classes: Mapping[str, str]) -> str:
    """Who trades it, by the asset class of each symbol. Raises Stop when nobody does, and when it would need two."""
    brokers = {_broker_of(traded, symbol, classes) for symbol in traded.symbols}
    if len(brokers) > 1:
        raise Stop(
            f"model {traded.model_id} trades at {' and '.join(sorted(brokers))}: an account is at one broker, so "
            "its symbols must be of one asset class"
        )
    return brokers.pop()


def _broker_of(traded: Traded, symbol: str, classes: Mapping[str, str]) -> str:
    if symbol not in classes:
        raise Stop(f"model {traded.model_id} trades {symbol}, which seeds/instruments.csv does not have")
    if classes[symbol] not in ROUTES:
        raise Stop(f"nobody trades {classes[symbol]}: {symbol} of model {traded.model_id} cannot be ordered")
    return ROUTES[classes[symbol]]


def asset_classes() -> dict[str, str]:
    """The asset class of each instrument. Raises Stop before the first `dbt build`."""
    with connect("executor", read_only=True) as connection:
        if scalar(connection.execute("select to_regclass('reference.instruments')")) is None:
            raise Stop("the warehouse has no instruments yet: run `dbt build`")
        rows = connection.execute("select symbol, asset_class from reference.instruments order by symbol").fetchall()
    return dict(rows)
