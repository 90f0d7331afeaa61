"""Loopback needs no proxy. Clients that read HTTP_PROXY would send requests to this machine's own servers to it."""

import os

_LOOPBACK = ("127.0.0.1", "localhost", "::1")


def spare_loopback() -> None:
    """Put loopback into NO_PROXY and no_proxy, for every client of this process and its children.

    Both spellings are set: some clients read one, some the other. What is in them already stays.
    """
    for name in ("NO_PROXY", "no_proxy"):
        present = [host for host in os.environ.get(name, os.environ.get(_other(name), "")).split(",") if host.strip()]
        missing = [host for host in _LOOPBACK if host not in present and "*" not in present]
        os.environ[name] = ",".join([*present, *missing])


def _other(name: str) -> str:
    return name.swapcase()
