"""Which broker trades an instrument: its asset class says so, and one account trades at one broker."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Protocol, TypeVar

from execution.brokers.alpaca import AlpacaBroker
from execution.brokers.base import Broker, Mode
from execution.brokers.binance import BinanceBroker
from execution.brokers.named import named, names
from warehouse.connection import connect
from warehouse.errors import Stop
from warehouse.rows import scalar
from warehouse.settings import load

ROUTES = {"equity": "alpaca", "crypto": "binance"}
"""Asset classes of seeds/instruments.csv, and who trades them."""
BROKERS = tuple(ROUTES.values())


class Traded(Protocol):
    """What trades symbols under a name: a package of a model."""

    @property
    def model_id(self) -> str: ...
    @property
    def symbols(self) -> tuple[str, ...]: ...


Package = TypeVar("Package", bound=Traded)


def log_in(broker: str, mode: Mode = Mode.PAPER) -> Broker:
    """The account that the settings' keys for this broker belong to, under the product's names of instruments.

    Raises Stop for a broker that truebar does not know, and when there are no keys.
    """
    match broker:
        case "alpaca":
            return named(AlpacaBroker.from_settings(load(), mode=mode))
        case "binance":
            by_symbol = names("binance")
            symbols = [by_symbol.get(symbol, symbol) for symbol, of in _asset_classes().items() if of == "crypto"]
            return named(BinanceBroker.from_settings(load(), symbols, mode=mode))
    raise Stop(f"truebar knows no broker {broker}: it knows {', '.join(BROKERS)}")


def routed(packages: Iterable[Package]) -> dict[str, list[Package]]:
    """Packages by the broker that trades them, in the order given. Raises Stop when one would need two brokers."""
    classes = _asset_classes()
    found: dict[str, list[Package]] = defaultdict(list)
    for package in packages:
        brokers = {_broker_of(package, symbol, classes) for symbol in package.symbols}
        if len(brokers) > 1:
            raise Stop(
                f"model {package.model_id} trades at {' and '.join(sorted(brokers))}: an account is at one broker, so "
                "its symbols must be of one asset class"
            )
        found[brokers.pop()].append(package)
    return dict(found)


def _broker_of(package: Traded, symbol: str, classes: Mapping[str, str]) -> str:
    if symbol not in classes:
        raise Stop(f"model {package.model_id} trades {symbol}, which seeds/instruments.csv does not have")
    if classes[symbol] not in ROUTES:
        raise Stop(f"nobody trades {classes[symbol]}: {symbol} of model {package.model_id} cannot be ordered")
    return ROUTES[classes[symbol]]


def _asset_classes() -> dict[str, str]:
    with connect("executor", read_only=True) as connection:
        if scalar(connection.execute("select to_regclass('reference.instruments')")) is None:
            raise Stop("the warehouse has no instruments yet: run `dbt build`")
        rows = connection.execute("select symbol, asset_class from reference.instruments order by symbol").fetchall()
    return dict(rows)
