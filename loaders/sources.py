"""The vendors by name, made from settings."""

from loaders.polygon import PolygonSource
from loaders.source import Source
from warehouse.errors import Stop
from warehouse.settings import Settings

NAMES = ("polygon",)


def source_named(name: str, settings: Settings) -> Source:
    """The vendor's source. Raises Stop for an unknown name or a missing key, naming the variable to set."""
    if name not in NAMES:
        raise Stop(f"unknown source {name!r}: one of {', '.join(NAMES)}")
    if settings.polygon_api_key is None:
        raise Stop("no key for Polygon: set POLYGON_API_KEY in the environment or .env (`make demo` needs none)")
    return PolygonSource(settings.polygon_api_key.get_secret_value(), settings.polygon_base_url)
