"""The vendors by name. A vendor is a module of loaders.vendors; nothing else names one, so a new vendor is a new file.

A vendor's module is imported when it is asked for: some SDKs take a second.
"""

import importlib
import importlib.util
import pkgutil

from loaders import vendors
from loaders.client.base import Source
from loaders.client.files import FileReader
from warehouse.errors import Stop
from warehouse.settings import Settings

NAMES = tuple(sorted(module.name for module in pkgutil.iter_modules(vendors.__path__)))


def source_named(name: str, settings: Settings) -> Source:
    """The vendor's source. Raises Stop for an unknown name or a missing key, naming the variable to set."""
    _check_name(name)
    source: Source = importlib.import_module(f"{vendors.__name__}.{name}").make(settings)
    return source


def files_of(name: str) -> FileReader:
    """Who reads the vendor's files; it needs no key. Raises Stop for an unknown vendor or one without files."""
    _check_name(name)
    module = f"{vendors.__name__}.{name}"
    package = importlib.import_module(module)
    if not hasattr(package, "__path__") or importlib.util.find_spec(f"{module}.files") is None:
        raise Stop(f"{name} has no files that are known here: use ingest without --files")
    reader: FileReader = importlib.import_module(f"{module}.files").FILES
    return reader


def _check_name(name: str) -> None:
    if name not in NAMES:
        raise Stop(f"unknown source {name!r}: one of {', '.join(NAMES)}")
