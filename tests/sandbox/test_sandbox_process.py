"""`python -m sandbox` as a process: how it starts, stops, refuses, and what a SIGKILL leaves behind."""

import contextlib
import json
import os
import random
import re
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from http.client import HTTPException
from pathlib import Path

import pytest
from alpaca.common.exceptions import APIError

from sandbox.__main__ import main
from sandbox.broker.book import Book
from sandbox.errors import SandboxError
from tests.sandbox.stage import DAYS, KEYS, Served

pytestmark = pytest.mark.long

Start = Callable[..., subprocess.Popen]
START = "2012-11-19T22:00:00Z"


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """start(*arguments) runs `python -m sandbox` and ends it with the test."""
    processes: list[subprocess.Popen] = []

    def run(*arguments: object) -> subprocess.Popen:
        environ = {
            **os.environ,
            "SANDBOX_POLYGON_KEY": KEYS.polygon,
            "SANDBOX_ALPACA_KEY_ID": KEYS.alpaca_key_id,
            "SANDBOX_ALPACA_SECRET": KEYS.alpaca_secret,
        }
        command = [sys.executable, "-m", "sandbox", *map(str, arguments)]
        pipe = subprocess.PIPE
        processes.append(subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True, env=environ))
        return processes[-1]

    yield run
    for process in processes:
        if process.poll() is None:
            process.kill()
        process.communicate()


def ready(process: subprocess.Popen) -> Served:
    line = process.stdout.readline()
    assert line.startswith("sandbox ready at "), process.stderr.read()
    return Served(re.search(r"http://127\.0\.0\.1:\d+", line)[0])


def test_it_starts_serves_and_stops(start: Start, november: Path, tmp_path: Path) -> None:
    book = tmp_path / "deep" / "book.sqlite"
    process = start("--tape", november, "--book", book, "--port", 0, "--clock", START)
    served = ready(process)
    assert served.ask("/sandbox/clock") == {"now": START, "mode": "stepped"}
    account_id = served.alpaca.get_account().id
    served.advance("2012-11-20T22:00:00Z")
    process.send_signal(signal.SIGTERM)
    assert process.wait(5) == 0
    again = start("--tape", november, "--book", book, "--port", 0, "--clock", START)
    served = ready(again)
    assert served.ask("/sandbox/clock")["now"] == "2012-11-20T22:00:00Z"
    assert served.alpaca.get_account().id == account_id
    again.send_signal(signal.SIGINT)
    assert again.wait(5) == 0
    assert again.stderr.read() == ""


def test_it_runs_on_real_time(start: Start, november: Path) -> None:
    served = ready(start("--tape", november, "--port", 0, "--clock", "real"))
    clock = served.ask("/sandbox/clock")
    assert clock["mode"] == "real"
    before = datetime.now(UTC)
    told = served.alpaca.get_clock().timestamp
    assert before <= told <= datetime.now(UTC)
    assert "cannot be moved by hand" in served.advance("2112-01-01T00:00:00Z")["error"]


def test_it_plays_a_fault_plan(start: Start, november: Path, tmp_path: Path) -> None:
    plan = tmp_path / "faults.yaml"
    plan.write_text("{seed: 1, vendors: {polygon: [{fault: rate_limited, rate: 1}]}}")
    served = ready(start("--tape", november, "--port", 0, "--faults", plan))
    assert "maximum requests per minute" in served.ask("/v1/marketstatus/now")["error"]
    assert served.ask("/sandbox/faults") == {
        "seed": 1,
        "answers": {"polygon": {"rate_limited": 1}},
        "sockets": {},
    }


@pytest.fixture
def refused(capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """refused(*arguments) runs the command in this process, where it must exit with 2 and say one sentence."""

    def run(*arguments: object) -> str:
        assert main([str(argument) for argument in arguments]) == 2
        said = capsys.readouterr()
        assert said.out == ""
        assert said.err.startswith("sandbox: ")
        assert said.err.count("\n") == 1
        return said.err

    return run


def test_what_it_cannot_do_is_one_sentence_and_changes_nothing(
    refused: Callable[..., str], november: Path, tmp_path: Path
) -> None:
    book = tmp_path / "book.sqlite"
    assert "no tape folder" in refused("--tape", tmp_path / "nowhere", "--book", book)
    assert "neither real nor a moment" in refused("--tape", november, "--book", book, "--clock", "noon")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert f"Port {port} cannot be used" in refused("--tape", november, "--book", book, "--port", port)
    assert "not a port" in refused("--tape", november, "--book", book, "--port", 70000)
    assert not book.exists()
    assert "cannot be read" in refused("--tape", november, "--faults", tmp_path / "nowhere.yaml", "--port", 0)
    assert "needs a folder" in refused("make-tape", november / "bars.parquet")


def test_a_file_that_is_no_book_is_left_alone(refused: Callable[..., str], november: Path, tmp_path: Path) -> None:
    book = tmp_path / "book.sqlite"
    book.write_text("a diary")
    assert "cannot be used as a book" in refused("--tape", november, "--book", book, "--port", 0)
    assert book.read_text() == "a diary"
    other = sqlite3.connect(tmp_path / "other.sqlite")
    other.execute("create table orders (dish text)")
    other.close()
    assert "is not a book" in refused("--tape", november, "--book", tmp_path / "other.sqlite", "--port", 0)


def test_a_book_has_one_sandbox(start: Start, refused: Callable[..., str], november: Path, tmp_path: Path) -> None:
    book = tmp_path / "book.sqlite"
    process = start("--tape", november, "--book", book, "--port", 0)
    ready(process)
    with pytest.raises(SandboxError, match="Another sandbox"):
        Book(book, now=0)
    error = refused("--tape", november, "--book", book, "--port", 0)
    assert f"Another sandbox is running on the book {book}" in error
    process.kill()
    process.wait(5)
    Book(book, now=0).close()  # the lock dies with the process that held it


def test_a_killed_sandbox_goes_on_where_it_was(
    start: Start, serve: Callable[..., Served], november: Path, tmp_path: Path
) -> None:
    """What was answered is kept; a client that repeats what was not answered ends at the book of an undisturbed run."""
    book = tmp_path / "killed.sqlite"
    process = start("--tape", november, "--book", book, "--port", 0, "--clock", START)
    served = ready(process)
    threading.Timer(random.Random(20121119).uniform(0.02, 0.1), process.kill).start()
    with contextlib.suppress(OSError, HTTPException):
        while True:
            buy_a_share_a_day(served)
    assert process.wait(5) == -signal.SIGKILL
    killed = ready(start("--tape", november, "--book", book, "--port", 0))
    assert buy_a_share_a_day(killed) == buy_a_share_a_day(serve(november, START))


def buy_a_share_a_day(served: Served) -> list[tuple]:
    """From the first day, whatever was done before; returns what happened, without the account's random identity."""
    for day in DAYS[1:]:
        order = {"symbol": "UP", "side": "buy", "qty": "1", "type": "market", "time_in_force": "day"}
        with contextlib.suppress(APIError):  # sent in an earlier life
            served.alpaca.post("/orders", {**order, "client_order_id": str(day)})
        if served.ask("/sandbox/clock")["now"] < f"{day}T22:00:00Z":
            served.advance(f"{day}T22:00:00Z")
    book = served.book()
    orders = [(order["client_order_id"], order["status"], order["updated_at"]) for order in book["orders"]]
    moved = [(row["activity_type"], row.get("symbol"), row.get("qty"), row.get("price")) for row in book["activities"]]
    assert len(moved) >= 1 + len(orders)
    return [book["cash"], book["now"], book["positions"], *orders, *moved]


@pytest.fixture
def served(serve: Callable[..., Served], november: Path) -> Served:
    return serve(november, START)


@pytest.mark.parametrize(
    ("origin", "host", "status"),
    [
        ("https://elsewhere.example", None, 403),
        ("null", None, 403),
        ("http://127.0.0.1:1", None, 403),
        ("http://rebound.example", "rebound.example", 403),
        (None, None, 200),
        ("own", None, 200),
    ],
)
def test_no_page_of_elsewhere_moves_the_clock(
    served: Served, origin: str | None, host: str | None, status: int
) -> None:
    now = served.ask("/sandbox/clock")["now"]
    request = urllib.request.Request(f"{served.url}/sandbox/clock", data=json.dumps({"advance_to": now}).encode())
    if origin:
        request.add_header("Origin", served.url if origin == "own" else origin)
    if host:
        request.add_header("Host", host)
    try:
        answered = urllib.request.urlopen(request, timeout=10).status
    except urllib.error.HTTPError as error:
        answered = error.code
    assert answered == status


def test_a_body_that_nests_too_deep_is_refused(served: Served) -> None:
    for path in ("/sandbox/clock", "/sandbox/desk", "/v2/orders"):
        request = urllib.request.Request(f"{served.url}{path}", data=b"[" * 200_000)
        request.add_header("APCA-API-KEY-ID", KEYS.alpaca_key_id)
        request.add_header("APCA-API-SECRET-KEY", KEYS.alpaca_secret)
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(request, timeout=10)
        assert 400 <= refused.value.code < 500
