"""The vendors by name. A vendor is a module of loaders.vendors; nothing else names one, so a new vendor is a new file.

A vendor's module is imported when it is asked for: some SDKs take a second.
"""

import importlib
import pkgutil

from loaders import vendors
from loaders.client.base import Source
from warehouse.errors import Stop
from warehouse.settings import Settings

NAMES = tuple(sorted(module.name for module in pkgutil.iter_modules(vendors.__path__)))


def source_named(name: str, settings: Settings) -> Source:
    """The vendor's source. Raises Stop for an unknown name or a missing key, naming the variable to set."""
    if name not in NAMES:
        raise Stop(f"unknown source {name!r}: one of {', '.join(NAMES)}")
    source: Source = importlib.import_module(f"{vendors.__name__}.{name}").make(settings)
    return source
