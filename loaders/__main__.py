"""python -m loaders ingest: land bars, splits and dividends."""

import argparse
import sys
from datetime import date
from functools import partial

from loaders.ingest import ingest
from loaders.sources import source_named
from warehouse.connection import connect
from warehouse.errors import OperatorError
from warehouse.settings import load

HISTORY_START = date(2000, 1, 1)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m loaders", description="Bring raw up to date from a vendor.")
    commands = parser.add_subparsers(dest="command", required=True)
    command = commands.add_parser("ingest", help="land bars and corporate actions up to the newest final bar")
    command.add_argument("--source", default="polygon", help="vendor (default: %(default)s)")
    command.add_argument("--timeframe", default="1d", help="1m to 1d, as the vendor has them (default: %(default)s)")
    command.add_argument("--symbols", nargs="+", help="the product's symbols (default: all the vendor has)")
    command.add_argument(
        "--from", dest="history_start", type=_date, default=HISTORY_START, metavar="YYYY-MM-DD",
        help="first date of the history (default: %(default)s)",
    )  # fmt: skip
    options = parser.parse_args(arguments)
    try:
        with connect("loader") as connection:
            landed = ingest(
                connection,
                source_named(options.source, load()),
                symbols=options.symbols,
                history_start=options.history_start,
                timeframe=options.timeframe,
                progress=partial(print, flush=True),
            )
    except OperatorError as error:
        print(f"loaders: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("loaders: interrupted; what was landed stays, and the next ingest goes on from there", file=sys.stderr)
        return 130
    print(f"{landed.received} rows received, {landed.landed} landed")
    return 0


def _date(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a date: write YYYY-MM-DD") from None


if __name__ == "__main__":
    sys.exit(main())
