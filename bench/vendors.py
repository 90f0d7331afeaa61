"""Vendors that answer at once, each in a process of its own: minute bars without a gap, by arithmetic."""

import json
import multiprocessing
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from multiprocessing.connection import Connection
from urllib.parse import parse_qsl, urlsplit

# the product's symbol, and the environment that leads its loader here
SYMBOLS = {
    "binance": ("BTCUSDT", {"BINANCE_BASE_URL": "{url}"}),
    "polygon": ("AAPL", {"POLYGON_BASE_URL": "{url}", "POLYGON_API_KEY": "bench"}),
}
# midnight of the exchange
HISTORY_START = {
    "binance": datetime(2015, 1, 1, tzinfo=UTC),
    "polygon": datetime(2015, 1, 1, 5, tzinfo=UTC),
}
MINUTE_MS = 60_000


@contextmanager
def answering(vendor: str, now: datetime) -> Iterator[str]:
    """The address of a vendor whose clock stands at `now`, half a minute later to be exact."""
    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.Process(target=_serve, args=(vendor, now + timedelta(seconds=30), theirs), daemon=True)
    process.start()
    try:
        yield f"http://127.0.0.1:{ours.recv()}"
    finally:
        process.terminate()
        process.join()


def _serve(vendor: str, now: datetime, ready: Connection) -> None:
    answer = {"binance": _binance, "polygon": _polygon}[vendor]

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            parts = urlsplit(self.path)
            body = answer(parts.path, dict(parse_qsl(parts.query)), now).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *arguments: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    ready.send(server.server_port)
    server.serve_forever()


def _binance(path: str, query: dict[str, str], now: datetime) -> str:
    if path.endswith("/time"):
        return json.dumps({"serverTime": _milliseconds(now)})
    starts = _minutes(int(query["startTime"]), min(int(query["endTime"]), _milliseconds(now)))[: int(query["limit"])]
    rows = (
        f'[{start},"{price}.10000000","{price}.50000000","{price}.00000000","{price}.20000000","12.48210000",'
        f'{start + MINUTE_MS - 1},"1139.22118000",1834,"6.90112000","629.11870000","0"]'
        for start, price in _priced(starts)
    )
    return f"[{','.join(rows)}]"


def _polygon(path: str, query: dict[str, str], now: datetime) -> str:
    if path.startswith("/v1/marketstatus/"):
        return json.dumps({"market": "open", "serverTime": now.isoformat()})
    if not path.startswith("/v2/aggs/"):
        return json.dumps({"status": "OK", "request_id": "bench", "results": []})
    begin, end = (int(part) for part in path.split("/")[-2:])
    starts = _minutes(begin, min(end, _milliseconds(now) - MINUTE_MS))
    rows = (
        f'{{"v":{price}.5,"vw":{price}.1234,"o":{price}.1,"c":{price}.2,"h":{price}.51,"l":{price}.0,"t":{start},"n":18}}'
        for start, price in _priced(starts)
    )
    count = len(starts)
    return (
        f'{{"ticker":"AAPL","queryCount":{count},"resultsCount":{count},"adjusted":false,'
        f'"results":[{",".join(rows)}],"status":"OK","request_id":"bench","count":{count}}}'
    )


def _minutes(begin: int, end: int) -> range:
    return range(begin + -begin % MINUTE_MS, end + 1, MINUTE_MS)


def _priced(starts: range) -> Iterator[tuple[int, int]]:
    return ((start, 100 + start // MINUTE_MS % 1000) for start in starts)


def _milliseconds(moment: datetime) -> int:
    return round(moment.timestamp() * 1000)
