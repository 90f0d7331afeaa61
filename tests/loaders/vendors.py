"""A vendor's HTTP server on loopback, as a test wants it to answer, and a budget that only counts."""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qsl, urlsplit

NOW = datetime(2026, 3, 10, 12, 34, 56, tzinfo=UTC)


@dataclass(frozen=True)
class Request:
    """What arrived on the wire."""

    path: str
    query: dict[str, str]
    headers: dict[str, str]
    line: str


@dataclass(frozen=True)
class Answer:
    """What goes back. A body that is not text is sent as JSON; `cut` bytes of it never arrive."""

    body: object
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    cut: int = 0

    @property
    def text(self) -> str:
        return self.body if isinstance(self.body, str) else json.dumps(self.body)


@dataclass
class Vendor:
    """A running server: where it is, and what it was asked."""

    url: str
    requests: list[Request] = field(default_factory=list)


@contextmanager
def serving(answer: Callable[[Request], Answer], now: Callable[[], datetime] = lambda: NOW) -> Iterator[Vendor]:
    """A vendor whose clock, the Date of each answer, is the test's."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            parts = urlsplit(self.path)
            request = Request(parts.path, dict(parse_qsl(parts.query)), dict(self.headers), self.path)
            vendor.requests.append(request)
            found = answer(request)
            body = found.text.encode()
            self.send_response(found.status)
            for name, value in {"Content-Length": str(len(body)), **found.headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body[: len(body) - found.cut])

        def date_time_string(self, timestamp: float | None = None) -> str:
            return format_datetime(now(), usegmt=True)

        def log_message(self, *arguments: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    vendor = Vendor(f"http://127.0.0.1:{server.server_port}")
    # a stop waits for the next poll
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    try:
        yield vendor
    finally:
        server.shutdown()
        server.server_close()


class CountingBudget:
    """Never waits; remembers what was taken and how long the vendor asked to be left alone."""

    def __init__(self) -> None:
        self.taken: list[int] = []
        self.closed: list[float] = []

    def take(self, weight: int = 1) -> None:
        self.taken.append(weight)

    def close(self, seconds: float) -> None:
        self.closed.append(seconds)
