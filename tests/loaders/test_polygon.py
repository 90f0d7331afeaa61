"""The Polygon loader over real HTTP: what the SDK would swallow becomes one of the product's three errors."""

import json
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from loaders.source import Row, Window
from loaders.vendors.polygon import PolygonSource
from warehouse.errors import OperatorError, Retry, Skip, Stop

WINDOW = Window(datetime(2024, 1, 2, 5, tzinfo=UTC), datetime(2024, 1, 6, 5, tzinfo=UTC))
BAR = {"v": 41250310.0, "o": 229.52, "c": 230.14, "h": 231.05, "l": 228.9, "t": 1704171600000}
Answer = Callable[[int], tuple[int, str]]


@pytest.fixture
def vendor() -> Iterator[Callable[[Answer], PolygonSource]]:
    """Makes a source whose vendor answers the n-th request with (status, body)."""
    servers = []

    def start(answer: Answer) -> PolygonSource:
        count = iter(range(1_000))

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                status, body = answer(next(count))
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.end_headers()
                self.wfile.write(body.encode())

            def log_message(self, *arguments: object) -> None:
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        servers.append(server)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        return PolygonSource("secret-key", f"http://127.0.0.1:{server.server_port}")

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def rows(source: PolygonSource, vendor_symbol: str = "AAPL", timeframe: str = "1d") -> list[Row]:
    return [row for page in source.bars(vendor_symbol, timeframe, WINDOW) for row in page.rows]


def page(results: list[dict], next_url: str | None = None) -> str:
    body = {"status": "OK", "resultsCount": len(results), "results": results, "request_id": "x"}
    return json.dumps(body | ({"next_url": next_url} if next_url else {}))


def test_numbers_keep_the_digits_of_the_wire(vendor) -> None:
    source = vendor(lambda n: (200, page([BAR | {"o": 0.1, "v": 41250310.25}])))
    (row,) = rows(source)
    assert row["o"] == Decimal("0.1")
    assert row["v"] == Decimal("41250310.25")
    assert row["t"].isoformat() == "2024-01-02T05:00:00+00:00"


def test_pages_are_followed(vendor) -> None:
    source = vendor(lambda n: (200, page([BAR | {"n": n}], "https://elsewhere/next?cursor=a" if n < 2 else None)))
    assert [row["n"] for row in rows(source)] == [0, 1, 2]


def test_an_unknown_ticker_is_an_empty_answer(vendor) -> None:
    source = vendor(lambda n: (200, '{"status": "OK", "resultsCount": 0, "request_id": "x"}'))
    assert rows(source, "NOPE") == []


@pytest.mark.parametrize(
    ("status", "body", "error", "words"),
    [
        (200, page([BAR])[:-20], Retry, "not complete JSON"),
        (200, '{"status": "OK", "resultsCount": 3}', Retry, "announced 3 results"),
        (200, '{"status": "ERROR", "error": "Unknown API Key"}', Stop, "POLYGON_API_KEY"),
        (401, '{"status": "ERROR", "error": "Unknown API Key"}', Stop, "POLYGON_API_KEY"),
        (403, '{"status": "NOT_AUTHORIZED", "message": "Your plan ends in 2022."}', Stop, "plan"),
        (404, '{"status": "NOT_FOUND", "message": "no such path"}', Skip, "does not know"),
        (429, '{"status": "ERROR", "error": "You have exceeded the maximum requests per minute"}', Retry, "429"),
        (502, "<html>bad gateway</html>", Retry, "502"),
        (400, "<html>proxy</html>", Retry, "error page"),
    ],
)
def test_failures_become_sentences(vendor, status: int, body: str, error: type[OperatorError], words: str) -> None:
    source = vendor(lambda n: (status, body))
    with pytest.raises(error, match=words) as caught:
        rows(source)
    assert "secret-key" not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_truncated_second_page_lands_nothing(vendor) -> None:
    source = vendor(
        lambda n: (200, page([BAR], "https://elsewhere/next?cursor=a") if n == 0 else '{"status": "OK", "res')
    )
    with pytest.raises(Retry, match="cut off"):
        rows(source)


def test_nobody_listening_is_worth_a_retry() -> None:
    with pytest.raises(Retry, match="could not be reached"):
        rows(PolygonSource("secret-key", "http://127.0.0.1:9"))


def test_an_unknown_timeframe_names_the_known_ones(vendor) -> None:
    with pytest.raises(Stop, match="1m, 1h, 1d"):
        rows(vendor(lambda n: (200, page([]))), timeframe="7d")


def test_days_are_asked_for_by_their_date_in_new_york(vendor) -> None:
    asked = []
    source = vendor(lambda n: (200, page([])))
    source._api.list_aggs = lambda *arguments, **options: asked.append(arguments[3:5]) or []
    rows(source)
    assert [[str(day) for day in days] for days in asked] == [["2024-01-02", "2024-01-05"]]
