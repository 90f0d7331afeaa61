"""What the bits of a fit depend on, beside its data."""

import hashlib
import platform
import sys
from functools import cache

import optuna

from models_registry.package import library_versions
from warehouse.settings import PROJECT_DIR

_CODE = ("models_registry", "training", "training/gate", "warehouse")


def versions() -> dict[str, str]:
    """Of this process: its code and libraries, Python and the processor. What was fitted with others is not mixed."""
    return {
        "truebar": _code(),
        **library_versions(),
        "optuna": optuna.__version__,
        "Python": ".".join(map(str, sys.version_info[:2])),
        "processor": platform.machine(),
    }


@cache
def _code() -> str:
    """12 hex digits of the code that reads, fits and predicts: a checkout's version stays the same for months."""
    files = sorted(path for folder in _CODE for path in (PROJECT_DIR / folder).glob("*.py"))
    content = b"".join(path.relative_to(PROJECT_DIR).as_posix().encode() + path.read_bytes() for path in files)
    return hashlib.sha256(content).hexdigest()[:12]
