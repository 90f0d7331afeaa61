"""No key appears in any log, error, table or Prefect record, whatever the vendors answer."""

import base64
import csv
import json
import logging
import os
import subprocess
import sys
import urllib.request
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import quote, quote_plus

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests import forked
from tests.machine import ROOT, running_warehouse
from warehouse import embedded, roles
from warehouse.connection import endpoint, open_connection
from warehouse.migrate import bring_up
from warehouse.sessions import ROLES

# each with characters that look different in a URL
KEYS = {
    "POLYGON_API_KEY": "polygon+Q7zL/84hVw1=",
    "BINANCE_API_KEY": "binance+mT3k/52xRc9=",
    "COINGECKO_API_KEY": "coingecko+Yp6/91dNs2=",
    "APCA_API_KEY_ID": "alpaca-id+Vb8/37fGj4=",
    "APCA_API_SECRET_KEY": "alpaca-secret+Kt2/6Zq=",
}
DATABASE_PASSWORD = "database+Wn5/28gXa7="
VENDORS = {
    "polygon": ("AAPL", "1m", "o", "open"),
    "binance": ("BTCUSDT", "1m", "serverTime", "server_time"),
    "coingecko": ("BTCUSDT", "30m", "gecko_says", "gecko_tells"),
    "geckoterminal": ("BTCUSDT", "1m", "ohlcv_list", "candles"),
}
# an hour each of the sandbox's clock, for `python -m loaders ingest`
FAULTS: dict[str, dict[str, object]] = {
    "unauthorized": {},
    "server_error": {},
    "renamed_field": {},
    "rate_limited": {},
    "banned": {"retry_after": 0},
    "stall": {"seconds": 1},
    "truncated_json": {},
    "no_results": {},
}
# the flow, which shows every kind of error to Prefect: stop, retry, unknown format
IN_FLOWS = dict(zip(VENDORS, FAULTS, strict=False))
FLOWS_HOUR, FIRST_HOUR = 1, 3
# timeouts and pauses between attempts, in seconds
IMPATIENT = {"loaders.client.http.TIMEOUT_S": (0.5, 0.5), "loaders.history.pull.FIRST_DELAY_S": 0.05}
FIRST = datetime(2026, 3, 2, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)


@dataclass(frozen=True)
class World:
    """A database with a password, vendors that go wrong in another way each hour, and what everything printed."""

    state_dir: Path
    url: str
    log: Path
    environment: dict[str, str]

    def at(self, moment: datetime) -> None:
        body = json.dumps({"advance_to": moment.isoformat()}).encode()
        with urllib.request.urlopen(f"{self.url}/sandbox/clock", data=body, timeout=10):
            pass

    def struck(self, fault: str) -> Counter[str]:
        """How often a fault has struck each vendor so far."""
        with urllib.request.urlopen(f"{self.url}/sandbox/faults", timeout=10) as answer:
            return Counter({vendor: counts.get(fault, 0) for vendor, counts in json.load(answer)["answers"].items()})


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("secrets")
    _write_tape(folder)
    with running_warehouse(folder / "state") as state_dir, _sandbox(folder) as url:
        socket = embedded.socket_dir(state_dir)
        os.environ["DATABASE_URL"] = (
            f"postgresql://{embedded.SUPERUSER}:{quote(DATABASE_PASSWORD, safe='')}@/truebar?host={socket}"
        )
        bring_up()
        # each role gets a password of its own
        with open_connection(endpoint(), endpoint().conninfo(), autocommit=True) as connection:
            roles.rotate(connection, endpoint())
        _spend_nothing()
        os.environ.update(
            KEYS,
            POLYGON_BASE_URL=url,
            BINANCE_BASE_URL=f"{url}/binance",
            COINGECKO_BASE_URL=f"{url}/coingecko",
            GECKOTERMINAL_BASE_URL=f"{url}/geckoterminal/api/v2",
            APCA_API_BASE_URL=url,
            APCA_API_STREAM_URL=f"{url.replace('http', 'ws', 1)}/stream",
            PREFECT_HOME=str(state_dir / "prefect"),
            DBT_LOG_LEVEL_FILE="debug",
        )
        yield World(state_dir, url, folder / "printed.log", dict(os.environ))


@pytest.mark.whole
def test_no_key_is_printed_logged_or_stored(world: World) -> None:
    _run_flows(world)
    _run_loaders(world)
    places = _places(world)
    assert any(name.startswith("prefect/") and name.endswith(".db") for name in places)
    assert any(name.startswith("dbt/logs/") for name in places)
    assert b"DEBUG:urllib3" in places["printed"]
    secrets = {**KEYS, "DATABASE_URL": DATABASE_PASSWORD, **_role_passwords(world.state_dir)}
    assert _found(places, secrets) == []


def test_the_search_finds_a_key_however_it_is_written() -> None:
    key = KEYS["POLYGON_API_KEY"]
    for written in (key, quote(key, safe=""), quote_plus(key), *(_base64(f"{'x' * n}:{key}, and") for n in range(3))):
        assert _found({"log": f"GET /?apiKey={written}&limit=5".encode()}, {"key": key}) == [("log", "key")]
    assert _found({"log": b"GET /?limit=5"}, {"key": key}) == []


def _run_flows(world: World) -> None:
    """The flow `ingest` of each vendor, in a good hour and in a bad one; Prefect retries at once."""
    asked = [[vendor, symbol, timeframe] for vendor, (symbol, timeframe, *_) in VENDORS.items()]
    hours = [(FIRST + n * HOUR).isoformat() for n in (0, FLOWS_HOUR)]
    with world.log.open("ab") as log:
        done = subprocess.run(
            [sys.executable, "-c", _FLOWS, world.url, json.dumps(asked), json.dumps(hours), f"{FIRST:%Y-%m-%d}"],
            cwd=ROOT,
            env={
                **world.environment,
                "PREFECT_LOGGING_LEVEL": "DEBUG",
                "PREFECT_LOGGING_EXTRA_LOGGERS": "truebar,urllib3",
                "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
                "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "120",
            },
            stdout=log,
            stderr=log,
            timeout=900,
            check=False,
        )
    printed = world.log.read_text()
    assert done.returncode == 0, printed[-3000:]
    assert f"flows have failed: {len(VENDORS)}" in printed, printed[-3000:]


_FLOWS = """
import json, logging, sys, urllib.request
from datetime import date
logging.basicConfig(level=logging.DEBUG)
import flows.ingest as flow
from warehouse.errors import OperatorError

url, asked, hours, start = sys.argv[1], json.loads(sys.argv[2]), json.loads(sys.argv[3]), sys.argv[4]
flow.land = flow.land.with_options(retry_delay_seconds=0, retries=1)
failed = 0
for hour in hours:
    body = json.dumps({"advance_to": hour}).encode()
    urllib.request.urlopen(f"{url}/sandbox/clock", data=body, timeout=10).close()
    for source, symbol, timeframe in asked:
        try:
            flow.ingest(source, [symbol], date.fromisoformat(start), timeframe)
        except OperatorError as error:
            failed += 1
            print(f"{source}: {error!r}")
        # the seeds do not change
        flow.seed_reference = lambda: None
print("flows have failed:", failed)
"""


def _run_loaders(world: World) -> None:
    """Each vendor in each bad hour, until the fault has struck it; nobody listening; and a broker who says no."""
    for number, fault in enumerate(FAULTS, FIRST_HOUR):
        world.at(FIRST + number * HOUR)
        victims = set(VENDORS) if fault != "banned" else {"binance"}
        before = world.struck(fault)
        for _ in range(30):
            struck = world.struck(fault)
            spared = {vendor for vendor in victims if struck[vendor] == before[vendor]}
            if not spared:
                break
            _ingest(world, spared)
        assert not spared, (fault, spared)
    refused = {f"{vendor.upper()}_BASE_URL": "http://127.0.0.1:9" for vendor in VENDORS}
    _ingest(world, set(VENDORS), **refused)
    for url in (world.url, "http://127.0.0.1:9"):
        forked.start("execution", "reconcile", output=world.log, log_level=logging.DEBUG, APCA_API_BASE_URL=url).join(
            60
        )


def _ingest(world: World, vendors: set[str], **environment: str) -> None:
    processes = []
    for vendor in sorted(vendors):
        symbol, timeframe, *_ = VENDORS[vendor]
        arguments = ("--source", vendor, "--timeframe", timeframe, "--symbols", symbol, "--from", f"{FIRST:%Y-%m-%d}")
        processes.append(
            forked.start(
                "loaders",
                "ingest",
                *arguments,
                output=world.log,
                log_level=logging.DEBUG,
                constants=IMPATIENT,
                **environment,
            )
        )
    for process in processes:
        process.join(120)
        assert process.exitcode in (0, 2, 75), world.log.read_text()[-3000:]


def _places(world: World) -> dict[str, bytes]:
    """Everything that was printed, logged or stored, by where it is."""
    cluster = world.state_dir / "pg"
    server_log = (cluster.parent / "postgresql.log").read_bytes()
    places = {"printed": world.log.read_bytes(), "server log": server_log, "dump": _dump(cluster)}
    for path in world.state_dir.rglob("*"):
        # the cluster's files are in the dump; the password file is where passwords belong, for this user alone
        if path.is_file() and cluster not in path.parents and path.name != "pgpass":
            places[str(path.relative_to(world.state_dir))] = path.read_bytes()
    return places


def _dump(cluster: Path) -> bytes:
    command = [embedded.BIN_DIR / "pg_dump", "-h", embedded.socket_dir(cluster.parent), "-U", embedded.SUPERUSER]
    return subprocess.run([*map(str, command), "truebar"], capture_output=True, check=True).stdout


def _role_passwords(state_dir: Path) -> dict[str, str]:
    lines = [line.rsplit(":", 2) for line in (state_dir / "pgpass").read_text().splitlines()]
    passwords = {role: password for _, role, password in lines}
    assert passwords.keys() == set(ROLES)
    return passwords


def _found(places: dict[str, bytes], secrets: dict[str, str]) -> list[tuple[str, str]]:
    return [
        (place, name)
        for place, content in places.items()
        for name, secret in secrets.items()
        if any(form.encode() in content for form in _forms(secret))
    ]


def _forms(secret: str) -> set[str]:
    """As it is, in a URL, and in base64, wherever in the encoded text it begins."""
    inner = {_base64("x" * n + secret)[(0, 2, 3)[n] : -4] for n in range(3)}
    return {secret, quote(secret, safe=""), quote(secret), quote_plus(secret), *inner}


def _base64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def _spend_nothing() -> None:
    """Budgets have tests of their own; here nobody waits for one."""
    where = endpoint()
    with open_connection(where, where.conninfo()) as owner:
        owner.execute(
            "create function raw.spend_nothing() returns trigger language plpgsql as $$ begin"
            " new.spent_until := clock_timestamp(); new.closed_until := '-infinity'; return new; end $$"
        )
        owner.execute(
            "create trigger spend_nothing before insert or update on raw.request_budgets"
            " for each row execute function raw.spend_nothing()"
        )


def _write_tape(folder: Path) -> None:
    minutes = int(24 * HOUR / timedelta(minutes=1))
    starts = [FIRST - 8 * HOUR + n * timedelta(minutes=1) for n in range(minutes)]
    columns = {
        "symbol": ["AAPL"] * minutes + ["BTCUSDT"] * minutes,
        "timeframe": ["1m"] * 2 * minutes,
        "bar_start": pa.array(starts * 2, pa.timestamp("us", tz="UTC")),
        **dict.fromkeys(("open", "high", "low", "close"), [100.25] * 2 * minutes),
        "volume": [1_000.0] * 2 * minutes,
    }
    (folder / "tape").mkdir()
    pq.write_table(pa.table(columns), folder / "tape" / "bars.parquet")
    (folder / "tape" / "crypto.yaml").write_text(f"BTCUSDT: {{coin: bitcoin, network: eth, pool: '{_pool()}'}}\n")


def _pool() -> str:
    with (ROOT / "dbt_project" / "seeds" / "vendor_symbols.csv").open(newline="") as file:
        names = {(line["symbol"], line["vendor"]): line["vendor_symbol"] for line in csv.DictReader(file)}
    return names["BTCUSDT", "geckoterminal"].rsplit("/", 1)[1]


def _write_plan(path: Path) -> None:
    """All requests of the flow's hour are struck. In the loaders' hours some get through, to fail later."""
    # what is covered is not asked for again, so a field must be renamed the first time
    hours = [(fault, n, 1.0 if fault == "renamed_field" else 0.35) for n, fault in enumerate(FAULTS, FIRST_HOUR)]
    vendors: dict[str, list] = {vendor: [] for vendor in VENDORS}
    for vendor, (*_, field, to) in VENDORS.items():
        for fault, number, rate in [(IN_FLOWS[vendor], FLOWS_HOUR, 1.0), *hours]:
            if fault == "banned" and vendor != "binance":
                continue
            begin = FIRST + number * HOUR
            rule = {"fault": fault, "rate": rate, "from": begin.isoformat(), "until": (begin + HOUR).isoformat()}
            rule |= {"field": field, "to": to} if fault == "renamed_field" else FAULTS[fault]
            vendors[vendor].append(rule)
    path.write_text(json.dumps({"seed": 7, "vendors": vendors}))


@contextmanager
def _sandbox(folder: Path) -> Iterator[str]:
    _write_plan(folder / "faults.yaml")
    command = ["--tape", str(folder / "tape"), "--faults", str(folder / "faults.yaml"), "--port", "0"]
    process = subprocess.Popen(
        [sys.executable, "-m", "sandbox", *command, "--clock", FIRST.isoformat()],
        cwd=ROOT,
        env={
            **os.environ,
            "SANDBOX_POLYGON_KEY": KEYS["POLYGON_API_KEY"],
            "SANDBOX_COINGECKO_KEY": KEYS["COINGECKO_API_KEY"],
        },
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        yield process.stdout.readline().split()[3].rstrip(":")
    finally:
        process.terminate()
        process.wait(timeout=10)
