"""The SDK's clients for one account at Binance: whose keys they sign with, and the only address that they know."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from binance.async_client import AsyncClient
from binance.client import Client

from warehouse import addresses
from warehouse.errors import Stop

_TIMEOUT = (3.05, 10.0)


@dataclass(frozen=True, slots=True)
class BinanceKeys:
    """A key with the secret that signs for it: HMAC's, or a private key (Ed25519 or RSA, as PEM)."""

    key: str = field(repr=False)
    secret: str | None = field(default=None, repr=False)
    private_key: str | None = field(default=None, repr=False)


class _RestClient(Client):  # type: ignore[misc]  # the SDK has no types
    # where a key cannot be read, the SDK's destructor looks for the session of a client that was never made
    session: Any = None


def rest_client(keys: BinanceKeys, base_url: str) -> Client:
    """The SDK's client, confined to the one address."""
    try:
        client = _RestClient(keys.key, keys.secret, ping=False, private_key=keys.private_key)
    except (ValueError, TypeError, IndexError):
        raise Stop("BINANCE_TRADING_PRIVATE_KEY is not a private key in PEM: make one with `openssl genpkey`") from None
    for name in ("API_URL", "API_TESTNET_URL", "API_DEMO_URL"):
        setattr(client, name, f"{base_url}/api")
    # the SDK takes a pair as requests does, and says that it takes a number
    client.REQUEST_TIMEOUT = _TIMEOUT
    addresses.confine(client.session, base_url)
    return client


def private_key(text: Any) -> str:
    """The PEM, or what the file of this name holds."""
    value = str(text.get_secret_value())
    if "PRIVATE KEY" in value:
        return value
    try:
        return Path(value).expanduser().read_text()
    except OSError as error:
        raise Stop(f"BINANCE_TRADING_PRIVATE_KEY: the file cannot be read ({error.strerror})") from None


def socket_client(keys: BinanceKeys, socket_url: str) -> AsyncClient:
    """The SDK's client for sockets, which knows no address but this. Make it in the event loop that uses it."""
    names = ("WS_API_URL", "WS_API_TESTNET_URL", "WS_API_DEMO_URL")
    kind = type("SocketClient", (AsyncClient,), dict.fromkeys(names, socket_url))
    client: AsyncClient = kind(keys.key, keys.secret, private_key=keys.private_key)
    return client
