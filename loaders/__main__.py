"""python -m loaders: land history, what a vendor says of names, and live bars."""

import argparse
import sys
from datetime import UTC, date, datetime
from functools import partial
from pathlib import Path

from loaders.client.base import NamingSource
from loaders.history.files import ingest_files
from loaders.history.ingest import ingest
from loaders.history.names import land_names
from loaders.live.collector import Pace
from loaders.live.process import collect
from loaders.vendor_by_name import NAMES, files_of, source_named
from warehouse.command_names import name_command
from warehouse.connection import connect
from warehouse.errors import OperatorError, Stop
from warehouse.refusals import in_words
from warehouse.settings import load

HISTORY_START = date(2000, 1, 1)


def main(arguments: list[str] | None = None, *, called: str | None = None) -> int:
    parser = _parser()
    name_command(parser, arguments, called)
    options = parser.parse_args(arguments)
    try:
        with in_words():
            options.run(options)
    except OperatorError as error:
        print(f"loaders: {error}", file=sys.stderr)
        return error.exit_status
    except KeyboardInterrupt:
        print("loaders: interrupted; what was landed stays, and the next ingest goes on from there", file=sys.stderr)
        return 130
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m loaders", description="Bring raw up to date from a vendor.")
    commands = parser.add_subparsers(dest="command", required=True)
    command = commands.add_parser("ingest", help="land bars and corporate actions up to the newest final bar")
    command.set_defaults(run=_ingest)
    command.add_argument("--source", default="polygon", help="vendor (default: %(default)s)")
    command.add_argument("--timeframe", default="1d", help="1m to 1d, as the vendor has them (default: %(default)s)")
    command.add_argument("--symbols", nargs="+", help="the product's symbols (default: all the vendor has)")
    command.add_argument(
        "--from", dest="history_start", type=_date, default=HISTORY_START, metavar="YYYY-MM-DD",
        help="first date of the history (default: %(default)s)",
    )  # fmt: skip
    command.add_argument(
        "--files", type=Path, metavar="DIR",
        help="land the vendor's files that lie in this folder instead: Binance's kline archives, Polygon's flat files;"
        " their timeframe and dates are their own",
    )  # fmt: skip
    command = commands.add_parser(
        "names",
        help="land what the vendor says of listings, delistings and changes of name",
        description="Land what the vendor says of listings, delistings and changes of name. Nothing of it counts by"
        " itself: after a build canonical.proposed_lines has the lines of the seeds that it means, and you decide.",
    )
    command.set_defaults(run=_names)
    command.add_argument("--source", default="polygon", help="vendor (default: %(default)s)")
    command.add_argument("--symbols", nargs="+", help="the product's symbols (default: all the vendor has)")
    command = commands.add_parser(
        "collect",
        help="land live bars as they end, until SIGTERM or Ctrl-C",
        description="Land a vendor's live bars as they end, connect again when the connection is lost, and ask for what"
        " was missed. Runs until SIGTERM or Ctrl-C; its health is a row of raw.feeds.",
    )
    command.set_defaults(run=_collect)
    command.add_argument("--source", required=True, help=f"vendor: one of {', '.join(NAMES)}")
    command.add_argument("--timeframe", help="as the vendor sends them (default: its finest)")
    command.add_argument("--symbols", nargs="+", help="the product's symbols (default: all the vendor has)")
    command.add_argument(
        "--ask-every", type=_seconds, default=Pace.ask_every_s, metavar="SECONDS",
        help="how often to ask for bars that were missed or revised (default: %(default).0f)",
    )  # fmt: skip
    command.add_argument(
        "--silence", type=_seconds, metavar="SECONDS",
        help="connect again after so long without a bar while the market trades (default: a bar's length and 90 s)",
    )  # fmt: skip
    return parser


def _ingest(options: argparse.Namespace) -> None:
    progress = partial(print, flush=True)
    with connect("loader") as connection:
        if options.files:
            landed = ingest_files(
                connection, options.source, files_of(options.source), options.files, symbols=options.symbols,
                progress=progress,
            )  # fmt: skip
            print(f"{landed.received} rows received, {landed.landed} landed")
            return
        landed = ingest(
            connection,
            source_named(options.source, load()),
            symbols=options.symbols,
            history_start=options.history_start,
            timeframe=options.timeframe,
            progress=progress,
        )
    print(f"{landed.received} rows received, {landed.landed} landed")


def _names(options: argparse.Namespace) -> None:
    source = source_named(options.source, load())
    if not isinstance(source, NamingSource):
        raise Stop(f"{options.source} does not tell listings and names: Polygon does")
    with connect("loader") as connection:
        landed = land_names(connection, source, symbols=options.symbols, progress=partial(print, flush=True))
    print(f"{landed.received} rows received, {landed.landed} landed")


def _collect(options: argparse.Namespace) -> None:
    collect(
        options.source,
        load(),
        symbols=options.symbols,
        timeframe=options.timeframe,
        pace=Pace(silence_s=options.silence, ask_every_s=options.ask_every),
        tell=lambda line: print(f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S} {line}", flush=True),
    )


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds") from None
    if not 0.0 < seconds < 1e6:
        raise argparse.ArgumentTypeError(f"{text} is out of range: more than 0 and less than 1000000 seconds")
    return seconds


def _date(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a date: write YYYY-MM-DD") from None


if __name__ == "__main__":
    sys.exit(main())
