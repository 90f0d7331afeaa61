"""python -m execution status|reconcile|halt|release"""

import argparse
import sys
import time

from execution.brokers.alpaca import AlpacaBroker
from execution.brokers.base import Mode
from execution.ledger import Ledger
from execution.reconcile import reconcile
from execution.status import lines
from warehouse.connection import connect
from warehouse.errors import OperatorError, Stop
from warehouse.refusals import in_words
from warehouse.settings import load


def main(arguments: list[str] | None = None) -> int:
    """Exit status: 0, 1 when a reconciliation found a discrepancy, 2 when a person has to act first."""
    parser = argparse.ArgumentParser(prog="python -m execution", description="Look after trading accounts.")
    commands = parser.add_subparsers(dest="command", required=True)
    status = commands.add_parser("status", help="what the ledger knows: positions, orders in flight, halts")
    status.add_argument("--account", help="only this account")
    compare = commands.add_parser("reconcile", help="compare the ledger's whole history with the broker's, now")
    compare.add_argument("--mode", choices=[mode.value for mode in Mode], default=Mode.PAPER.value)
    for name, explanation in (("halt", "stop trading an account"), ("release", "let a halted account trade again")):
        command = commands.add_parser(name, help=explanation)
        command.add_argument("--account", help="needed when the ledger has more than one")
        command.add_argument("--reason", required=True, help="for the record")
    options = parser.parse_args(arguments)
    try:
        with in_words():
            return _run(options)
    except OperatorError as error:
        print(f"execution: {error}", file=sys.stderr)
        return 2


def _run(options: argparse.Namespace) -> int:
    match options.command:
        case "status":
            with connect("executor") as connection:
                print("\n".join(lines(connection, options.account)))
        case "reconcile":
            return _reconcile(Mode(options.mode))
        case "halt":
            with Ledger.view(_account(options.account)) as ledger:
                ledger.halt(options.reason)
                print(f"account {ledger.account_id} is halted: {options.reason}")
        case "release":
            with Ledger.view(_account(options.account)) as ledger:
                halted_because = ledger.halted_because()
                if halted_because is None:
                    raise Stop(f"account {ledger.account_id} is not halted")
                ledger.release(options.reason)
                print(f"account {ledger.account_id} is released; it was halted: {halted_because}")
                print("an open discrepancy still refuses every order until a reconciliation agrees")
    return 0


def _reconcile(mode: Mode) -> int:
    broker = AlpacaBroker.from_settings(load(), mode=mode)
    try:
        account_id = broker.account().account_id
        with Ledger.open(account_id, broker.name, broker.mode) as ledger:
            result = reconcile(broker, ledger, "by hand", time.sleep)
    finally:
        broker.close()
    print(f"account {account_id}: {result.outcome}")
    for finding in result.findings:
        print(f"  {finding}")
    return 1 if result.outcome == "discrepancy" else 0


def _account(account_id: str | None) -> str:
    with connect("executor") as connection:
        rows = connection.execute("select account_id from ledger.accounts order by opened_at").fetchall()
    known: list[str] = [row[0] for row in rows]
    if account_id is None and len(known) == 1:
        return known[0]
    if account_id is not None and account_id in known:
        return account_id
    have = ", ".join(known) or "none"
    raise Stop(
        f"{'--account is needed' if account_id is None else f'unknown account {account_id}'}: the ledger has {have}"
    )


if __name__ == "__main__":
    sys.exit(main())
