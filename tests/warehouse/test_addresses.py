"""No key leaves for a host that is not on the list, however the address is spelled.

Spellings are generated around the true hosts with the tricks on which parsers of URLs have disagreed. What is
accepted is then put to the libraries that the SDKs send with: each must contact a host of the list, or loopback.
"""

import random
from collections.abc import Callable, Iterator
from contextlib import suppress

import httpx
import pytest
import requests
import urllib3
import websockets.uri
import yarl
from requests.adapters import HTTPAdapter

from loaders.vendors import binance, coingecko, geckoterminal, polygon
from warehouse import addresses
from warehouse.errors import Stop

# the sets that a setting allows: hosts, whether it is a socket's, whether a stand-in may play the vendor
SETTINGS = [
    (polygon.HOSTS, False, True),
    (polygon.STREAM_HOSTS, True, True),
    (binance.HOSTS, False, True),
    (binance.STREAM_HOSTS, True, True),
    ([coingecko.HOSTS["demo"]], False, True),
    ([coingecko.HOSTS["pro"]], False, True),
    (geckoterminal.HOSTS, False, True),
    (["paper-api.alpaca.markets"], False, True),
    (["paper-api.alpaca.markets"], True, True),
    (["api.alpaca.markets"], False, False),
    (["api.alpaca.markets"], True, False),
]
FOREIGN = [
    "evil.example",
    "api.alpaca.markets",
    "10.0.0.1",
    "127.0.0.1.evil.example",
    "0x7f.1",
    "2130706433",
    "[::ffff:1.2.3.4]",
]
LOCAL = ["127.0.0.1", "localhost", "[::1]"]
SCHEMES = ["http", "https", "ws", "wss", "HTTPS", "hTTp", "ftp", "file", "", "https:", " https", "http+unix", "wss\t"]
SEPARATORS = ["://", ":", ":/", ":///", ":\\\\", ":/\\", "://\\", ":////", "://\t", "//"]
GLUES = [
    *"@.#?/\\:;*-_,[] \t\n\r\x00", "%2e", "%00", "%40", "%2f", "%23", ":@", "/@", "\\@", "?@", "#@", "&@", "..",
    "\u3002", "\uff0e", "\uff0f", "\u2100", "\u200b", "\u00ad",
]  # fmt: skip
LOOKALIKES = str.maketrans(
    {"a": "\u0430", "o": "\u043e", "e": "\uff45", "i": "\u0131", "p": "\u0440", "k": "\u212a", "s": "\u017f"}
)
PORTS = [
    "",
    "",
    "",
    ":443",
    ":9443",
    ":80",
    ":0",
    ":00443",
    ":65536",
    ":-1",
    ":443@evil.example",
    ":",
    ":\u0664\u0664\u0663",
    ":+443",
]
PATHS = [
    "",
    "",
    "/",
    "/v2",
    "/stream",
    "//",
    "/../",
    "/%2e%2e/",
    "/.",
    "/a b",
    "?x=1",
    "#x",
    "/\\evil.example",
    "/@evil.example",
    "//evil.example/",
]


def spelled(seed: int, count: int) -> Iterator[tuple[tuple, str]]:
    """A setting, and an address that may or may not be one of its own."""
    chance = random.Random(seed)
    for _ in range(count):
        setting = chance.choice(SETTINGS)
        hosts, is_socket, _ = setting
        host = chance.choice([*hosts, *LOCAL, chance.choice(FOREIGN)])
        plain = ("ws" if is_socket else "http") + chance.choice(["s", "s", ""])
        scheme = chance.choice([plain, plain, plain, chance.choice(SCHEMES)])
        separator = chance.choice(["://"] * 6 + [chance.choice(SEPARATORS)])
        yield setting, scheme + separator + _disguised(chance, host) + chance.choice(PORTS) + chance.choice(PATHS)


def _disguised(chance: random.Random, host: str) -> str:
    at = chance.randrange(len(host))
    glue, foreign = chance.choice(GLUES), chance.choice(FOREIGN)
    return chance.choice(
        [
            host, host, host,
            host.upper(), host.title(), host + ".", "." + host, host + "..",
            host.translate(LOOKALIKES),
            host.replace(".", chance.choice(["%2e", "%2E", "\u3002", "\uff0e", "\uff61", ",", ".."])),
            host[:at] + glue + host[at:], host[:at] + host[at + 1 :], host[:at] + chance.choice("abcz09.-") + host[at:],
            foreign + glue + host, host + glue + foreign, host + glue, glue + host,
            f"user:password@{host}", f"{host}:x@{foreign}", f"{foreign}\\@{host}", f"{host}@{foreign}@{host}",
            "".join(f"%{ord(letter):02x}" for letter in host if ord(letter) < 256),
            "".join(chr(ord(letter) + 0xFEE0) if "!" <= letter <= "~" else letter for letter in host),
        ]
    )  # fmt: skip


def _by_requests(url: str) -> tuple[str, int | None, bool]:
    prepared = requests.Request("GET", f"{url}/v2/account").prepare()
    target, _ = HTTPAdapter().build_connection_pool_key_attributes(prepared, True)
    return target["host"], target["port"], target["scheme"] == "https"


def _by_urllib3(url: str) -> tuple[str, int | None, bool]:
    target = urllib3.util.parse_url(f"{url}/v2/account")
    return target.host or "", target.port, target.scheme == "https"


def _by_httpx(url: str) -> tuple[str, int | None, bool]:
    target = httpx.URL(f"{url}/v2/account")
    return target.raw_host.decode(), target.port, target.scheme == "https"


def _by_websockets(url: str) -> tuple[str, int | None, bool]:
    target = websockets.uri.parse_uri(f"{url}/stream")
    return target.host, target.port, target.secure


def _by_aiohttp(url: str) -> tuple[str, int | None, bool]:
    target = yarl.URL(f"{url}/stream")
    return target.raw_host or "", target.port, target.scheme in ("https", "wss")


REST: list[Callable[[str], tuple[str, int | None, bool]]] = [_by_requests, _by_urllib3, _by_httpx]
SOCKETS: list[Callable[[str], tuple[str, int | None, bool]]] = [_by_websockets, _by_aiohttp]


def _is_allowed(setting: tuple, host: str, port: int | None, is_secure: bool) -> bool:
    hosts, _, stand_in = setting
    if stand_in and host in ("127.0.0.1", "localhost", "::1", "[::1]"):
        return True
    return is_secure and (host if port in (None, 443) else f"{host}:{port}") in hosts


@pytest.mark.parametrize("count", [6_000, pytest.param(200_000, marks=pytest.mark.slow)])
def test_whatever_is_accepted_is_contacted_at_a_host_of_the_list(count: int) -> None:
    accepted = foreign = 0
    for setting, url in spelled(2026, count):
        hosts, is_socket, stand_in = setting
        try:
            address = addresses.checked(url, "THE_SETTING", hosts, socket=is_socket, stand_in=stand_in)
        except Stop:
            address = None
        accepted += address is not None
        for contact in SOCKETS if is_socket else REST:
            if address is not None:
                assert _is_allowed(setting, *contact(address)), (contact.__name__, url)
                continue
            # what was refused and would have gone elsewhere shows that the spellings are dangerous ones
            with suppress(Exception):
                foreign += any(host in url for host in hosts) and not _is_allowed(setting, *contact(url))
    assert accepted > count / 100
    assert foreign > count / 10


def test_every_plain_address_is_accepted() -> None:
    for hosts, is_socket, stand_in in SETTINGS:
        scheme = "ws" if is_socket else "http"
        plain = [f"{scheme}s://{host}" for host in hosts] + [
            f"{scheme}://{host}:8765/stream" for host in LOCAL
        ] * stand_in
        for url in plain:
            options = {"socket": is_socket, "stand_in": stand_in}
            assert addresses.checked(url, "THE_SETTING", hosts, **options) == url
            assert addresses.checked(f"{url}/", "THE_SETTING", hosts, **options) == url


@pytest.mark.parametrize("host", LOCAL)
def test_no_proxy_stands_before_loopback(host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://proxy.example:3128")
    assert requests.utils.get_environ_proxies(f"http://{host}:8765/v2/account") == {}


def test_a_confined_session_reaches_no_other_address() -> None:
    session = requests.Session()
    addresses.confine(session, "https://paper-api.alpaca.markets")
    for url in (
        "https://paper-api.alpaca.markets.evil.example/v2",
        "https://evil.example",
        "http://paper-api.alpaca.markets/",
    ):
        with pytest.raises(requests.exceptions.InvalidSchema):
            session.get(url)


def test_the_sentence_shows_what_is_allowed_and_not_what_was_given() -> None:
    with pytest.raises(Stop) as stopped:
        addresses.checked("https://user:hunter2@api.polygon.io", "POLYGON_BASE_URL", ["api.polygon.io"])
    assert str(stopped.value) == (
        "POLYGON_BASE_URL is not an address that truebar sends to: "
        "allowed is https://api.polygon.io or http://127.0.0.1:PORT"
    )
