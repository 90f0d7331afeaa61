"""The vendors by name, made from settings. A vendor's SDK is imported when it is asked for: some take a second."""

from collections.abc import Callable

from loaders.budget import RequestBudget
from loaders.source import Source
from warehouse.errors import Stop
from warehouse.settings import Settings


def source_named(name: str, settings: Settings) -> Source:
    """The vendor's source. Raises Stop for an unknown name or a missing key, naming the variable to set."""
    if name not in _MAKERS:
        raise Stop(f"unknown source {name!r}: one of {', '.join(_MAKERS)}")
    return _MAKERS[name](settings)


def _polygon(settings: Settings) -> Source:
    from loaders.polygon import PolygonSource

    if settings.polygon_api_key is None:
        raise Stop("no key for Polygon: set POLYGON_API_KEY in the environment or .env (`make demo` needs none)")
    return PolygonSource(settings.polygon_api_key.get_secret_value(), settings.polygon_base_url)


def _binance(settings: Settings) -> Source:
    from loaders.binance import WEIGHT_A_MINUTE, BinanceSource

    key = settings.binance_api_key
    return BinanceSource(
        settings.binance_base_url,
        RequestBudget("binance", limit=WEIGHT_A_MINUTE),
        key.get_secret_value() if key else None,
    )


def _geckoterminal(settings: Settings) -> Source:
    from loaders.geckoterminal import REQUESTS_A_MINUTE, GeckoTerminalSource

    budget = RequestBudget("geckoterminal", limit=REQUESTS_A_MINUTE)
    return GeckoTerminalSource(settings.geckoterminal_base_url, budget)


def _coingecko(settings: Settings) -> Source:
    from loaders.coingecko import REQUESTS_A_MINUTE, CoinGeckoSource

    key, plan = settings.coingecko_api_key, settings.coingecko_plan
    return CoinGeckoSource(
        RequestBudget("coingecko", limit=REQUESTS_A_MINUTE[plan]),
        plan=plan,
        api_key=key.get_secret_value() if key else None,
        base_url=settings.coingecko_base_url,
    )


_MAKERS: dict[str, Callable[[Settings], Source]] = {
    "polygon": _polygon,
    "binance": _binance,
    "geckoterminal": _geckoterminal,
    "coingecko": _coingecko,
}
