"""python -m flows FLOW: run one flow now, without a deployment; --help lists them."""

import argparse
import logging
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path

from flows import processes
from flows.prefect_server import access, prefect_server, serve
from flows.prune import DAYS, prune
from warehouse.command_names import name_command
from warehouse.errors import OperatorError
from warehouse.refusals import in_words
from warehouse.settings import load

# the modules of the flows that are not alone in theirs
_MODULES = {"full_tests": "build", "look_ahead": "build"}


def main(arguments: list[str] | None = None, *, called: str | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m flows", description="Run one flow now, with its defaults.")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("ingest", help="land what the vendor has and raw has not")
    commands.add_parser("fill-gaps", help="ask the next vendor in rank for bars that are missing")
    build = commands.add_parser("build", help="dbt build and the look-ahead audit")
    build.add_argument("--full-refresh", action="store_true", help="compute all histories anew")
    commands.add_parser("full-tests", help="every data test over all rows, not only over new ones")
    look_ahead = commands.add_parser("look-ahead", help="audit that no feature knows the future")
    look_ahead.add_argument("timeframes", nargs="*", metavar="TIMEFRAME", help="e.g. 5m 1d (default: all)")
    train = commands.add_parser("train", help="train and judge hypotheses")
    train.add_argument("files", nargs="*", metavar="FILE", help="hypothesis files (default: all of experiments/)")
    train.add_argument(
        "--cluster", metavar="tcp://HOST:PORT", help="Dask scheduler whose workers fit (default: this machine fits)"
    )
    commands.add_parser("refit", help="fit and judge what trades on the newest bars; nothing that trades changes")
    universe = commands.add_parser("universe", help="lines of seeds/universes.csv from a CSV of dated memberships")
    universe.add_argument("name", help="what a hypothesis calls it, e.g. sp500")
    universe.add_argument("file", type=Path, metavar="FILE", help="CSV with symbol, opt-in and opt-out")
    commands.add_parser("paper-trade", help="decide the newest bars of all models in state paper, and send")
    commands.add_parser("shadow", help="decide what landed for models in state shadow, and take the looks that are due")
    drift = commands.add_parser("drift", help="compare what models read and predict now with what they were trained on")
    drift.add_argument(
        "--retire-after",
        type=int,
        metavar="LOOKS",
        help="retire a model whose scores drifted in so many windows in a row that share no bar, 2 or more",
    )
    drift.add_argument(
        "--retire-contradicted",
        action="store_true",
        help="retire a model on paper or live whose record contradicts its backtest at a look fixed before",
    )
    commands.add_parser("reconcile", help="compare the ledger with the broker")
    report = commands.add_parser("report", help="write a site of what happened, and say where it lies")
    report.add_argument(
        "--to", type=Path, metavar="DIR", help="folder of the site (default: report in the state folder)"
    )
    pruning = commands.add_parser("prune", help="remove Prefect's history of runs that ended long ago")
    pruning.add_argument(
        "--older-than",
        type=int,
        default=DAYS,
        metavar="DAYS",
        help="what ended more than so many days ago (default: %(default)s)",
    )
    pruning.add_argument("--dry-run", action="store_true", help="only say what would be removed (the default)")
    pruning.add_argument("--yes", action="store_true", help="remove it")
    commands.add_parser("dbt-docs", help="dbt's documentation as one file, which the report links from then on")
    for name, what in (
        ("serve", "a Prefect server, the deployments and a worker, until Ctrl-C"),
        ("server", "the server alone, for workers elsewhere"),
        ("access", "shell lines to reach it"),
    ):
        command = commands.add_parser(name, help=what)
        command.add_argument("--port", type=int, default=4200, help="default: 4200")
        if name == "server":
            command.add_argument("--host", default="127.0.0.1", help="where to listen (default: %(default)s)")
    commands.add_parser(
        "deploy", help="the deployments at the server of PREFECT_API_URL, for workers started otherwise"
    )
    commands.add_parser("worker", help="the deployments and a worker at the server of PREFECT_API_URL, until Ctrl-C")
    name_command(parser, arguments, called)
    options = parser.parse_args(arguments)
    logging.basicConfig(format="%(message)s", stream=sys.stdout, level=logging.WARNING)
    try:
        if options.command == "server":
            serve(options.port, options.host)
        if options.command == "access":
            print(access(options.port))
            return 0
        if options.command == "universe":
            from loaders.seeds.universes import bring_in

            count = bring_in(options.name, options.file)
            print(
                f"universe {options.name} has {count} memberships in seeds/universes.csv: run `python -m flows build`"
            )
            return 0
        processes.end_like_ctrl_c(load().state_dir)
        if options.command in ("serve", "worker", "deploy"):
            from flows import service

            logging.getLogger("truebar").setLevel(logging.INFO)
            with in_words():
                match options.command:
                    case "serve":
                        service.serve(options.port, load().state_dir)
                    case "worker":
                        service.work(load().state_dir)
                    case _:
                        service.deploy(load().state_dir)
            return 0
        with in_words(), prefect_server(sweeps=options.command == "prune") as wait_until_ready:
            if options.command == "prune":
                logging.getLogger("truebar").setLevel(logging.INFO)
                wait_until_ready()
                prune(options.older_than, removes=options.yes and not options.dry_run)
            else:
                _run(options, wait_until_ready)
    except OperatorError as error:
        print(f"flows: {error}", file=sys.stderr)
        return error.exit_status
    except KeyboardInterrupt:
        print("\nflows: interrupted; what was stored stays", file=sys.stderr)
        return 130
    return 0


def _run(options: argparse.Namespace, wait_until_ready: Callable[[], None]) -> None:
    parameters: dict[str, object] = {}
    match options.command:
        case "build":
            parameters["full_refresh"] = options.full_refresh
        case "look-ahead":
            parameters["timeframes"] = options.timeframes
        case "train":
            parameters["experiments"] = options.files or None
            parameters["cluster"] = options.cluster
        case "drift":
            parameters["retire_after"] = options.retire_after
            parameters["retire_contradicted"] = options.retire_contradicted
        case "report":
            parameters["folder"] = options.to
    name = options.command.replace("-", "_")
    # imported here, because Prefect reads its settings at import, and what a command does not need costs it seconds
    flow = getattr(import_module(f"flows.{_MODULES.get(name, name)}"), name)
    wait_until_ready()
    flow(**parameters)


if __name__ == "__main__":
    sys.exit(main())
