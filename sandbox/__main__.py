"""The sandbox from the shell: `python -m sandbox make-tape DIR`, then `python -m sandbox --tape DIR`."""

import argparse
import asyncio
import os
import signal
import socket
import sys
import time
from pathlib import Path

from aiohttp import web

from sandbox.errors import SandboxError
from sandbox.faults import plan as fault_plan
from sandbox.server import Keys, Sandbox
from sandbox.tape import crypto_pairs
from sandbox.tape import files as tapes
from sandbox.tape.files import Tape
from sandbox.timekeeping import iso_utc, parse_instant

HOST = "127.0.0.1"
USAGE_ERROR = 2


def main(arguments: list[str]) -> int:
    """Exit status: 0 after a clean stop, 2 when the sandbox cannot do what it was told, said in one sentence."""
    try:
        if arguments[:1] == ["make-tape"]:
            return _make_tape(arguments[1:])
        return _serve(arguments)
    except SandboxError as error:
        print(f"sandbox: {error}", file=sys.stderr)
        return USAGE_ERROR


def _make_tape(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m sandbox make-tape",
        description="Write the demo tape: four real tickers, two invented ones, and an invented coin.",
    )
    parser.add_argument("directory", type=Path, metavar="DIR")
    directory = parser.parse_args(arguments).directory
    # Only the demo tape needs the package with the real prices.
    from sandbox.tape import demo as demo_tape

    for path in demo_tape.write(directory):
        print(path)
    return 0


def _serve(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m sandbox",
        description="Play a tape as Polygon, Binance, CoinGecko, GeckoTerminal and Alpaca, REST and sockets, "
        "on one local port.",
        epilog="`python -m sandbox make-tape DIR` writes the demo tape.",
    )
    parser.add_argument("--tape", type=Path, required=True, metavar="DIR", help="folder of Parquet files")
    parser.add_argument("--book", type=Path, metavar="FILE", help="both brokers' book (SQLite); in memory if not given")
    parser.add_argument("--port", type=int, default=8765, help="0 takes a free one; default %(default)s")
    parser.add_argument(
        "--clock",
        default=None,
        metavar="real|MOMENT",
        help="real time, or the moment a new book starts at, like 2012-09-28T20:15:00Z (an existing book goes on from "
        "its own); by default the end of the tape",
    )
    environ = os.environ
    parser.add_argument("--polygon-key", default=environ.get("SANDBOX_POLYGON_KEY", "sandbox-polygon-key"))
    parser.add_argument("--alpaca-key-id", default=environ.get("SANDBOX_ALPACA_KEY_ID", "sandbox-alpaca-key"))
    parser.add_argument("--alpaca-secret", default=environ.get("SANDBOX_ALPACA_SECRET", "sandbox-alpaca-secret"))
    parser.add_argument("--binance-key", default=environ.get("SANDBOX_BINANCE_KEY", "sandbox-binance-key"))
    parser.add_argument("--binance-secret", default=environ.get("SANDBOX_BINANCE_SECRET", "sandbox-binance-secret"))
    parser.add_argument("--faults", type=Path, metavar="FILE", help="what goes wrong, and how often (YAML)")
    parser.add_argument("--coingecko-key", default=environ.get("SANDBOX_COINGECKO_KEY", "sandbox-coingecko-key"))
    options = parser.parse_args(arguments)
    tape = tapes.load(options.tape)
    start = _start(options.clock, tape)
    keys = Keys(
        options.polygon_key,
        options.alpaca_key_id,
        options.alpaca_secret,
        options.coingecko_key,
        options.binance_key,
        options.binance_secret,
    )
    pairs = crypto_pairs.load(options.tape, tape)
    plan = fault_plan.load(options.faults, tape) if options.faults else fault_plan.NO_FAULTS
    # The port comes before the book: a start that is refused leaves no book behind.
    with _listen(options.port) as listener:
        sandbox = Sandbox(tape, options.book, keys, start, options.clock == "real", pairs, plan)
        asyncio.run(_run(sandbox, listener, _ready_line(sandbox, tape, listener, options.book)))
    return 0


def _start(clock: str | None, tape: Tape) -> int:
    if clock is None:
        return tape.last_close
    if clock == "real":
        # A tape may reach past the present, whose bars then come as they are due.
        return min(tape.last_close, time.time_ns() // 1_000)
    try:
        return parse_instant(clock)
    except ValueError:
        raise SandboxError(f"--clock {clock} is neither real nor a moment like 2012-09-28T20:15:00Z.") from None


def _listen(port: int) -> socket.socket:
    try:
        return socket.create_server((HOST, port))
    except OverflowError:
        raise SandboxError(f"--port {port} is not a port; use 1 to 65535, or 0 for a free one.") from None
    except OSError as error:
        raise SandboxError(f"Port {port} cannot be used ({error.strerror}); choose another with --port.") from None


async def _run(sandbox: Sandbox, listener: socket.socket, ready_line: str) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    runner = web.AppRunner(sandbox.application(), access_log=None, shutdown_timeout=1)
    await runner.setup()
    try:
        await web.SockSite(runner, listener).start()
        print(ready_line, flush=True)
        await stop.wait()
    finally:
        await runner.cleanup()


def _ready_line(sandbox: Sandbox, tape: Tape, listener: socket.socket, book: Path | None) -> str:
    port = listener.getsockname()[1]
    mode = "real" if sandbox.real_clock else "stepped"
    return (
        f"sandbox ready at http://{HOST}:{port}: {', '.join(tape.symbols)}; "
        f"clock {iso_utc(sandbox.broker.now)} ({mode}); book {book or 'in memory'}"
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
