"""`python -m flows serve` and `python -m flows server` as processes, and a person at a server's API."""

import base64
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import psutil

from flows import prefect_access
from tests.machine import ROOT

SECRETS = {
    "POLYGON_API_KEY": "hunter2-polygon",
    "APCA_API_KEY_ID": "PK-hunter2",
    "APCA_API_SECRET_KEY": "hunter2-alpaca",
    "BINANCE_API_KEY": "hunter2-binance",
    "COINGECKO_API_KEY": "hunter2-gecko",
    "PGPASSWORD": "hunter2-pg",
    "DATABASE_URL": "postgresql://u:hunter2@127.0.0.1:9/x",
    "A_KEY_OF_TOMORROW": "hunter2-unknown",
}
# how many rows a server answers with at once, of which this one has more: it would be 200 otherwise
A_PAGE = 15


class Service:
    """The command, and a person at its server's API."""

    def __init__(self, state_dir: Path, port: int) -> None:
        self.home, self.port = state_dir / "prefect", port
        self.log = state_dir / "service.log"
        self.log.write_text("")
        self.process = subprocess.Popen(
            [sys.executable, "-m", "flows", "serve", "--port", str(port)],
            cwd=ROOT,
            # as systemd starts it
            env={name: text for name, text in os.environ.items() if name != "PWD"},
            stdout=self.log.open("a"),
            stderr=subprocess.STDOUT,
            start_new_session=True,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
        )
        until(lambda: "Ctrl-C ends" in self.log.read_text(), self.process)

    def ask(self, path: str, body: dict[str, Any]) -> Any:
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}/api{path}", json.dumps(body).encode())
        request.add_header("Content-Type", "application/json")
        word = base64.b64encode(prefect_access.credential(self.home).encode()).decode()
        request.add_header("Authorization", f"Basic {word}")
        for patience in range(60, -1, -1):
            try:
                with urllib.request.urlopen(request, timeout=30) as answer:
                    return json.loads(answer.read() or "null")
            except (urllib.error.URLError, ConnectionError) as error:
                # its database is in use, or it was killed and comes back
                if getattr(error, "code", 503) != 503 or not patience:
                    raise
                time.sleep(1)
        return None

    def deployment(self, name: str) -> dict[str, Any]:
        (found,) = self.ask("/deployments/filter", {"deployments": {"name": {"any_": [name]}}})
        return found

    def run(self, name: str, **parameters: object) -> str:
        run = self.ask(f"/deployments/{self.deployment(name)['id']}/create_flow_run", {"parameters": parameters})
        return run["id"]

    def state(self, run_id: str) -> str:
        (run,) = self.ask("/flow_runs/filter", {"flow_runs": {"id": {"any_": [run_id]}}})
        return run["state"]["type"]

    def pid_of(self, run_id: str) -> int:
        (run,) = self.ask("/flow_runs/filter", {"flow_runs": {"id": {"any_": [run_id]}}})
        return int(run["infrastructure_pid"].rpartition(":")[2])

    def part(self, word: str) -> psutil.Process:
        return next(child for child in psutil.Process(self.process.pid).children() if word in child.cmdline())


def until(holds: Callable[[], bool], process: subprocess.Popen | None = None, seconds: float = 300) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, f"not so after {seconds:.0f} seconds"
        assert process is None or process.poll() is None
        time.sleep(0.5)


@contextmanager
def serving(state_dir: Path) -> Iterator[Service]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    service = Service(state_dir, port)
    try:
        yield service
    finally:
        service.process.kill()
        service.process.wait()


class Server:
    """A running server, and how to ask it something."""

    def __init__(self, process: subprocess.Popen[bytes], port: int, state_dir: Path) -> None:
        self.process, self.port = process, port
        self.home = state_dir / "prefect"
        self.url = f"http://127.0.0.1:{port}/api"

    def status(self, path: str, credential: str | None = None, **headers: str) -> tuple[int, dict[str, str]]:
        """What a POST of an empty filter is answered with: the code and the headers."""
        request = urllib.request.Request(f"{self.url}{path}", json.dumps({}).encode(), headers)
        request.add_header("Content-Type", "application/json")
        if credential is not None:
            request.add_header("Authorization", f"Basic {base64.b64encode(credential.encode()).decode()}")
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return answer.status, dict(answer.headers)
        except urllib.error.HTTPError as error:
            return error.code, dict(error.headers)


@contextmanager
def server_alone(state_dir: Path) -> Iterator[Server]:
    """`python -m flows server`, with its pages of answers shortened to A_PAGE."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    shorter = {"PREFECT_SERVER_API_DEFAULT_LIMIT": str(A_PAGE)}
    process = subprocess.Popen(
        [sys.executable, "-m", "flows", "server", "--port", str(port)],
        cwd=ROOT,
        env={**os.environ, **SECRETS, **shorter, "TRUEBAR_STATE_DIR": str(state_dir)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        deadline = time.monotonic() + 120
        while True:
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/api/health", timeout=5).close()
                break
            except OSError:
                assert process.poll() is None
                assert time.monotonic() < deadline, "the Prefect server did not start"
                time.sleep(0.3)
        yield Server(process, port, state_dir)
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(timeout=15)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)


@contextmanager
def in_front(url: str, steps_in: Callable[[str, str], int | None]) -> Iterator[str]:
    """An address that passes on to the server at another one what `steps_in` leaves alone, by method and path.

    What it returns a status for is answered with that.
    """

    class Door(BaseHTTPRequestHandler):
        def answer(self) -> None:
            asked = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            status, said = steps_in(self.command, self.path), b"{}"
            if status is None:
                wanted = ("authorization", "content-type")
                kept = {name: text for name, text in self.headers.items() if name.lower() in wanted}
                whole = url.removesuffix("/api") + self.path
                passed = httpx.request(self.command, whole, content=asked, headers=kept, timeout=60, trust_env=False)
                status, said = passed.status_code, passed.content
            self.send_response(status)
            self.send_header("Content-Length", str(len(said)))
            self.end_headers()
            self.wfile.write(said)

        do_GET = do_POST = do_DELETE = answer

        def log_message(self, *words: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Door) as door:
        threading.Thread(target=door.serve_forever, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{door.server_address[1]}/api"
        finally:
            door.shutdown()
