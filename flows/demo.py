"""The demo: from nothing to gated models of a stock and a coin trading on paper, offline, through the product's flows.

The vendors are played by the sandbox on this machine; everything else is what a real installation runs. What is done
once is not done again: a second demo continues, finds nothing new and ends with the same table.
"""

import argparse
import logging
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import date
from pathlib import Path

from flows import processes
from flows.prefect_server import prefect_server
from warehouse import needs
from warehouse.connection import connect, endpoint
from warehouse.errors import OperatorError, Stop
from warehouse.locks import exclusive
from warehouse.logs import first_error
from warehouse.migrate import bring_up
from warehouse.refusals import in_words
from warehouse.rows import scalar
from warehouse.settings import PROJECT_DIR, load, make_state_dir

log = logging.getLogger("truebar")

# the sandbox's clock starts after that day's close; what comes later is held out for the paper session
TRAINED_THROUGH = "2012-09-28T20:15:00Z"
TRADED_THROUGH = date(2013, 3, 1)
HISTORY_START = date(2000, 1, 1)
# what the tape has data for: daily bars of stocks, and of one coin
EXPERIMENTS = (
    "aapl_momentum",
    "four_stock_panel",
    "four_stock_ranking",
    "ibm_volatility_week",
    "planted_coin",
    "planted_edge",
    "pure_noise",
)
COINS = ["SYNTHUSDT"]
KEYS = {
    "SANDBOX_POLYGON_KEY": "demo-polygon",
    "SANDBOX_ALPACA_KEY_ID": "demo-alpaca",
    "SANDBOX_ALPACA_SECRET": "demo",
    "SANDBOX_BINANCE_KEY": "demo-binance",
    "SANDBOX_BINANCE_SECRET": "demo",
}


def main(arguments: list[str] | None = None, *, called: str | None = None) -> int:
    """Exit status 0 when every stage ended well, that of the error with one sentence, 130 after Ctrl-C."""
    parser = argparse.ArgumentParser(
        prog=called or "python -m flows.demo",
        description="From nothing to models trading on paper, offline, in some minutes. Run it again to continue.",
    )
    parser.parse_args(arguments)
    logging.basicConfig(format="    %(message)s", stream=sys.stdout, level=logging.WARNING)
    started = time.monotonic()
    try:
        processes.end_like_ctrl_c(load().state_dir)
        with in_words(), _only_one():
            _run()
    except OperatorError as error:
        print(f"demo: {error}", file=sys.stderr)
        return error.exit_status
    except KeyboardInterrupt:
        print("\ndemo: interrupted; what was stored stays, and `make demo` continues from there", file=sys.stderr)
        return 130
    print(f"\ndemo finished in {time.monotonic() - started:.0f} s")
    return 0


def _run() -> None:
    settings = load()
    needs.check("the demo", needs.DEMO, settings.state_dir)
    demo_dir = settings.state_dir / "demo"
    with stage("PostgreSQL"):
        names = bring_up()
        log.info("%s, %d migrations applied", endpoint().place, len(names))
    _check_database(demo_dir)
    with ExitStack() as running:
        with stage("sandbox: stand-ins for Polygon, Alpaca and Binance"):
            url = running.enter_context(_sandbox(demo_dir))
        socket = url.replace("http", "ws", 1)
        os.environ.update(
            POLYGON_API_KEY=KEYS["SANDBOX_POLYGON_KEY"],
            POLYGON_BASE_URL=url,
            APCA_API_KEY_ID=KEYS["SANDBOX_ALPACA_KEY_ID"],
            APCA_API_SECRET_KEY=KEYS["SANDBOX_ALPACA_SECRET"],
            APCA_API_BASE_URL=url,
            APCA_API_STREAM_URL=f"{socket}/stream",
            BINANCE_BASE_URL=f"{url}/binance",
            BINANCE_TRADING_KEY=KEYS["SANDBOX_BINANCE_KEY"],
            BINANCE_TRADING_SECRET=KEYS["SANDBOX_BINANCE_SECRET"],
            BINANCE_TRADING_URL=f"{url}/binance",
            BINANCE_TRADING_SOCKET_URL=f"{socket}/binance/ws-api/v3",
        )
        _run_flows(running, f"{url}/sandbox/clock")


def _run_flows(running: ExitStack, clock_url: str) -> None:
    with stage("Prefect: a local server for this demo (about 10 s)"):
        wait_until_ready = running.enter_context(prefect_server())
        # imported here, because Prefect reads its settings at import
        from prefect import flow

        from flows.build import build
        from flows.ingest import ingest, land
        from flows.paper_trade import paper_trade
        from flows.parity import check_parity
        from flows.reconcile import reconcile
        from flows.report import report
        from flows.summary import print_summary
        from flows.train import train

        wait_until_ready()

    @flow(name="demo")
    def demo() -> Path:
        with stage("ingest: stocks' bars, splits and dividends from Polygon, a coin's bars from Binance"):
            ingest(history_start=HISTORY_START)
            land("binance", COINS, HISTORY_START)
        with stage("dbt build: canonical bars, features and their quality gates"):
            build()
        with stage("train and judge the hypotheses in experiments/ that this market has data for"):
            train([str(PROJECT_DIR / "experiments" / f"{name}.yaml") for name in EXPERIMENTS])
        with stage(f"paper trade the held-out months through {TRADED_THROUGH} at Alpaca and Binance"):
            paper_trade(stepped_clock=clock_url, through=TRADED_THROUGH, history_start=HISTORY_START)
        with stage("reconcile ledger and brokers"):
            reconcile()
        with stage("dbt build again, and decide every bar again in bulk"):
            build()
            check_parity()

        with stage("report: a site of all that happened"):
            return report()

    print_summary(demo().absolute().as_uri())


@contextmanager
def stage(title: str) -> Iterator[None]:
    """Say what begins, and how long it took."""
    print(f"\n▸ {title}", flush=True)
    started = time.monotonic()
    yield
    print(f"  done in {time.monotonic() - started:.1f} s", flush=True)


@contextmanager
def _only_one() -> Iterator[None]:
    state_dir = load().state_dir
    make_state_dir(state_dir)
    with exclusive(state_dir / "demo.lock", "running a demo", wait=0):
        yield


def _check_database(demo_dir: Path) -> None:
    """The demo writes to its own or an empty database; a fresh database means a fresh market too."""
    marker = demo_dir / "database"
    with connect("analyst") as connection:
        is_empty = scalar(connection.execute("select not exists (select from raw.coverage)"))
    place = endpoint().place
    if is_empty:
        shutil.rmtree(demo_dir, ignore_errors=True)
        demo_dir.mkdir(parents=True)
        marker.write_text(place)
    elif not marker.exists() or marker.read_text() != place:
        raise Stop(
            f"the database {place} holds data that this demo did not land: unset PGHOST and DATABASE_URL, "
            "or point them to an empty database"
        )


@contextmanager
def _sandbox(demo_dir: Path) -> Iterator[str]:
    """Run the sandbox on a free port beside this process; yields its URL. It stops with the block."""
    tape = demo_dir / "tape"
    # one from before there were coins on it is made anew; its stocks are the same
    if not (tape / "coins.parquet").exists():
        # made aside: half a tape is never taken for the whole
        aside = demo_dir / "tape.new"
        shutil.rmtree(aside, ignore_errors=True)
        _python("-m", "sandbox", "make-tape", str(aside))
        shutil.rmtree(tape, ignore_errors=True)
        aside.rename(tape)
    command = [
        *(sys.executable, "-m", "sandbox", "--tape", str(tape), "--port", "0"),
        *("--book", str(demo_dir / "book.sqlite"), "--clock", TRAINED_THROUGH),
    ]
    with (demo_dir / "sandbox.log").open("a") as errors:
        process = processes.start(
            command,
            load().state_dir,
            cwd=PROJECT_DIR,
            env={**os.environ, **KEYS},
            stdout=subprocess.PIPE,
            stderr=errors,
        )
    try:
        line = process.stdout.readline() if process.stdout else ""
        if not line.startswith("sandbox ready at "):
            process.wait(timeout=10)
            raise Stop(f"the sandbox did not start: {first_error((demo_dir / 'sandbox.log').read_text())}")
        log.info("%s", line.strip())
        yield line.split()[3].rstrip(":")
    finally:
        processes.end(process, load().state_dir)


def _python(*arguments: str) -> None:
    done = subprocess.run([sys.executable, *arguments], cwd=PROJECT_DIR, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise Stop(f"python {' '.join(arguments)}: {first_error(done.stderr)}")


if __name__ == "__main__":
    sys.exit(main())
