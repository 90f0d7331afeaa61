"""truebar COMMAND: every command of the product under one name. Each is that of the module which owns it.

Exit status: 0 done; 1 something differs, is wrong or is not at its end; 2 a person has to act first, and one sentence
says how, or the command line is wrong; 75 what may pass, such as a broker or a database that does not answer: the same
command may succeed later; 130 after Ctrl-C.
"""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module

from flows.pages_of_docs import print_page


@dataclass(frozen=True)
class Command:
    """Where a command's work is done: a module with a `main`, and the command's name there, if it has another."""

    help: str
    module: str
    own_name: str | None = None


COMMANDS = {
    "up": Command("start the database (unless another is configured) and migrate it", "warehouse"),
    "down": Command("stop the embedded database", "warehouse"),
    "status": Command("where the database is, and what is applied", "warehouse"),
    "doctor": Command("examine this machine's set-up; print a command that mends each thing wrong", "warehouse"),
    "backup": Command("write the database and the model packages into a folder", "warehouse"),
    "restore": Command("fill an empty database from a backup", "warehouse"),
    "psql": Command("look at everything by SQL, as analyst", "warehouse"),
    "ingest": Command("land history, splits and dividends of a vendor", "loaders"),
    "names": Command("land what a vendor says of listings, delistings and changes of name", "loaders"),
    "collect": Command("land a vendor's live bars until Ctrl-C", "loaders"),
    "fill-gaps": Command("ask the next vendor in rank for bars that are missing", "flows"),
    "build": Command("bring bars, features and results up to what has landed, and test them", "flows"),
    "full-tests": Command("every data test over all rows", "flows"),
    "universe": Command("lines of seeds/universes.csv from a CSV of dated memberships", "flows"),
    "validate": Command("check hypothesis files", "training"),
    "train": Command("train and judge hypotheses", "flows"),
    "gate": Command("one look of the gate at what files tried", "training", "judge"),
    "calibrate": Command("how often the gate passes what has no edge on your data, and what has one", "training"),
    "enter-shadow": Command("let what is too short to judge decide every new bar unseen", "training", "shadow"),
    "forward": Command("take the looks that are due at models in the shadow", "training"),
    "registry": Command("models and their states: list, show, diff, promote, retire", "models_registry", ""),
    "paper": Command("decide the newest bars of all models in state paper, and send", "flows", "paper-trade"),
    "trade": Command("trade the models in state paper until Ctrl-C", "execution"),
    "shadow": Command("decide what landed for models in state shadow; order nothing", "execution"),
    "drift": Command("whether models still read and predict what they were trained on", "flows"),
    "accounts": Command("cash, positions, orders in flight and halts of each account", "execution", "status"),
    "reconcile": Command("compare the ledger with the broker, now", "execution"),
    "adopt": Command("book what differs and is right", "execution"),
    "halt": Command("stop trading an account", "execution"),
    "reduce": Command("let an account only make positions smaller", "execution"),
    "flatten": Command("close every position of an account", "execution"),
    "cancel": Command("take back open orders", "execution"),
    "release": Command("let an account trade again", "execution"),
    "report": Command("write a site of what happened", "flows"),
    "prune": Command("remove Prefect's history of runs that ended long ago", "flows"),
    "dbt-docs": Command("every column and what follows from what, as one file that the report links", "flows"),
    "demo": Command("everything, from nothing to models trading on paper, offline", "flows.demo", ""),
    "serve": Command("a Prefect server, the deployments and a worker, until Ctrl-C", "flows"),
    "server": Command("the Prefect server alone, for workers elsewhere", "flows"),
    "worker": Command("the deployments and a worker at the server of PREFECT_API_URL, until Ctrl-C", "flows"),
    "deploy": Command("the deployments alone, at the server of PREFECT_API_URL", "flows"),
    "access": Command('shell lines to reach it: eval "$(truebar access)"', "flows"),
}
_OWN = {
    "docs": "list the pages of docs/, or print one: truebar docs runbook",
    "completion": 'completion for a shell: eval "$(truebar completion bash)", or zsh',
}
_COMPLETION = {
    "bash": 'complete -o default -W "{words}" truebar',
    "zsh": 'autoload -Uz compinit && compinit; compdef \'_arguments "1:command:({words})" "*:file:_files"\' truebar',
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command with its own options. Returns the exit status that the module's own command has."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    parser = _parser()
    name = given[0] if given else ""
    if name == "docs":
        return _docs(given[1:])
    if name == "completion":
        return _completion(given[1:])
    command = COMMANDS.get(name)
    if command is None:
        parser.parse_args(given)
        parser.error("say what to do")
    # imported here: `truebar halt` shall not wait for what `truebar build` needs
    run = import_module(command.module if "." in command.module else f"{command.module}.__main__").main
    if command.own_name == "":
        return int(run(given[1:], called=f"truebar {name}"))
    return int(run([command.own_name or name, *given[1:]], called=f"truebar {name}"))


def _parser() -> argparse.ArgumentParser:
    lines = [*((name, command.help) for name, command in COMMANDS.items()), *_OWN.items()]
    parser = argparse.ArgumentParser(
        prog="truebar",
        usage="truebar COMMAND [options]",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        description="\n".join(f"  {name:<11} {what}" for name, what in lines),
        epilog="`truebar COMMAND --help` says more. Exit status: 0 done; 1 something differs, is wrong or is not\n"
        "at its end; 2 a person has to act first, and one sentence says how; 75 what may pass, so the same\n"
        "command may succeed later; 130 after Ctrl-C.",
    )
    parser.add_argument("command", choices=[name for name, _ in lines], metavar="COMMAND", help="one of the above")
    return parser


def _docs(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="truebar docs", description="Read the pages of docs/.")
    parser.add_argument("page", nargs="?", help="its name (default: list them)")
    return print_page(parser.parse_args(arguments).page)


def _completion(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="truebar completion", description="Print completion for a shell.")
    parser.add_argument("shell", choices=sorted(_COMPLETION))
    print(_COMPLETION[parser.parse_args(arguments).shell].format(words=" ".join([*COMMANDS, *_OWN])))
    return 0


if __name__ == "__main__":
    sys.exit(main())
