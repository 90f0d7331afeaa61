"""Where a vendor's or broker's key may be sent.

Parsers of URLs disagree about odd spellings: `user@host`, a backslash, `%2e`, a dot at the end, full-width letters. So
an address is taken in one plain spelling only. What it names is then the same for every library.
"""

import re
from collections.abc import Collection

import requests
from requests.adapters import HTTPAdapter

from warehouse.errors import Stop

LOOPBACK = ("127.0.0.1", "localhost", "[::1]")

_PLAIN = re.compile(
    r"(?P<scheme>https?|wss?)://(?P<host>[a-z0-9.-]+|\[::1\])(?::(?P<port>[1-9][0-9]{0,4}))?"
    # no segment begins with a dot, so none leads back
    r"(?P<path>(?:/[A-Za-z0-9_~-][A-Za-z0-9._~-]*)*)/?",
    re.ASCII,
)
_LAST_PORT = 65_535


def checked(url: str, setting: str, hosts: Collection[str], *, socket: bool = False, stand_in: bool = True) -> str:
    """The address, without a slash at its end. Raises Stop naming the setting, never its value, which may hold a key.

    `hosts` are the vendor's own, `host` or `host:port`, over TLS only. `stand_in` allows this machine's loopback too.
    """
    scheme = "ws" if socket else "http"
    found = _PLAIN.fullmatch(url)
    if found and found["scheme"] in (scheme, f"{scheme}s") and int(found["port"] or 1) <= _LAST_PORT:
        name = found["host"] if found["port"] in (None, "443") else f"{found['host']}:{found['port']}"
        if found["scheme"] == f"{scheme}s" and name in hosts:
            return url.rstrip("/")
        if stand_in and found["host"] in LOOPBACK:
            return url.rstrip("/")
    allowed = [f"{scheme}s://{host}" for host in hosts] + [f"{scheme}://127.0.0.1:PORT"] * stand_in
    raise Stop(f"{setting} is not an address that truebar sends to: allowed is {' or '.join(allowed)}")


def confine(session: requests.Session, address: str) -> None:
    """Let the session speak to this address alone: the library itself refuses all others, a redirect's included."""
    session.max_redirects = 0
    session.adapters.clear()
    session.mount(f"{address}/", HTTPAdapter())
