"""python -m execution status|trade|shadow|reconcile|adopt|halt|reduce|flatten|cancel|release"""

import argparse
import signal
import sys
import threading
import time
from collections.abc import Callable

from execution import limits, registration, retirement, roster
from execution.acknowledge import Acknowledged, adopt, begin_epoch
from execution.brokers.base import Broker, Mode
from execution.brokers.routing import BROKERS, log_in
from execution.continuous import Landings, go_on
from execution.control import Control
from execution.ledger import Ledger
from execution.presence import Occupied, Purpose
from execution.recall import recall
from execution.reconcile import look, reconcile
from execution.session import Session
from execution.shadow import Shadow, follow
from execution.status import lines
from execution.withdrawals import Action
from models_registry import registry
from warehouse.command_names import name_command
from warehouse.connection import connect
from warehouse.errors import OperatorError, Stop
from warehouse.refusals import in_words


def main(arguments: list[str] | None = None, *, called: str | None = None) -> int:
    """Exit status: 0, 1 when sides differ or an act is not at its end, else the error's: see `warehouse.errors`."""
    parser = argparse.ArgumentParser(prog="python -m execution", description="Look after trading accounts.")
    commands = parser.add_subparsers(dest="command", required=True)
    status = commands.add_parser("status", help="what the ledger knows: positions, orders in flight, halts")
    status.add_argument("--account", help="only this account")
    compare = commands.add_parser("reconcile", help="compare the ledger's whole history with the broker's, now")
    adoption = commands.add_parser(
        "adopt",
        help="book what you find right",
        description="Book what differs between ledger and broker, as the broker states it. Then release the account.",
    )
    what = adoption.add_mutually_exclusive_group()
    what.add_argument("--all", action="store_true", help="everything that differs now")
    what.add_argument("--reset", action="store_true", help="begin anew from what the broker states now")
    adoption.add_argument("--hold-apart", metavar="SYMBOL", nargs="+", default=[], help="symbols that are not ours")
    adoption.add_argument("--about", metavar="SUBJECT", nargs="+", default=[], help="an id, a symbol or cash")
    adoption.add_argument("--reason", required=True, help="for the record")
    trading = commands.add_parser(
        "trade",
        help="trade the models in state paper until SIGTERM or Ctrl-C",
        description="Decide when bars land, and follow the orders.",
    )
    trading.add_argument(
        "--on-stop",
        choices=("hold", "flatten"),
        default="hold",
        help="at the end leave orders and positions as they are, or close every position; default %(default)s",
    )
    trading.add_argument("--wait", type=float, default=60.0, metavar="SECONDS", help="how long to follow a flattening")
    hidden = commands.add_parser("shadow", help="decide what landed for models in state shadow; order nothing")
    hidden.add_argument("--follow", action="store_true", help="go on whenever bars land, until SIGTERM or Ctrl-C")
    for command in (compare, adoption, trading):
        command.add_argument("--mode", choices=[mode.value for mode in Mode], default=Mode.PAPER.value)
        command.add_argument("--broker", choices=BROKERS, default=BROKERS[0], help="default %(default)s")
    for name, explanation in (
        ("halt", "stop trading an account, and take back what is open"),
        ("reduce", "let an account only make positions smaller, and take back what would not"),
        ("flatten", "take back what is open and close every position"),
        ("cancel", "take back open orders"),
        ("release", "let a halted, reducing or flattened account trade again"),
    ):
        command = commands.add_parser(name, help=explanation)
        command.add_argument("--account", help="needed when the ledger has more than one")
        command.add_argument("--reason", required=True, help="for the record")
        command.add_argument("--wait", type=float, default=30.0, metavar="SECONDS", help="how long to follow it")
        if name == "cancel":
            command.add_argument("--all", action="store_true", help="every open order")
            command.add_argument("--order", nargs="+", default=[], metavar="ID", help="ours or the broker's")
            command.add_argument("--symbol", nargs="+", default=[])
    name_command(parser, arguments, called)
    options = parser.parse_args(arguments)
    try:
        with in_words():
            return _run(options)
    except OperatorError as error:
        print(f"execution: {error}", file=sys.stderr)
        return error.exit_status


def _run(options: argparse.Namespace) -> int:
    match options.command:
        case "status":
            with connect("executor", read_only=True) as connection:
                print("\n".join(lines(connection, options.account)))
        case "trade":
            return _trade(options)
        case "shadow":
            return _shadow(follows=options.follow)
        case "reconcile":
            return _reconcile(options.broker, Mode(options.mode))
        case "adopt":
            return _adopt(options)
        case _:
            return _control(options)
    return 0


def _control(options: argparse.Namespace) -> int:
    if not options.reason.strip():
        raise Stop("--reason is empty: say why")
    with Ledger.view(_account(options.account)) as ledger:
        control = Control(ledger, log_in, lambda line: print(line, flush=True), options.wait)
        if options.command == "release":
            is_done = control.release(options.reason)
        elif options.command == "cancel":
            if not (options.all or options.order or options.symbol):
                raise Stop(
                    "say what to cancel: --all, --order ID as `python -m execution status` names it, or --symbol"
                )
            is_done = control.cancel(options.order, options.symbol, options.reason, every=options.all)
        else:
            is_done = control.restrict(Action(options.command), options.reason)
    return 0 if is_done else 1


def _trade(options: argparse.Namespace) -> int:
    name, mode = options.broker, Mode(options.mode)
    state: registry.State = "live" if mode is Mode.LIVE else "paper"
    models = roster.call(state)
    aside, packages = models.aside_at(name), models.packages.get(name, ())
    winds_up = not packages and name in retirement.brokers(mode)
    if not packages and not winds_up:
        raise Stop("; ".join((f"no model in state {state} trades at {name}", *map(str, aside))))
    is_over = _asked_to_end()

    def tell(line: str) -> None:
        print(line, flush=True)

    broker = log_in(name, mode)
    for one in aside:
        tell(str(one))
    shares = models.shares(name)
    # what retired models left behind may be of any symbol
    symbols = {symbol for package in packages for symbol in package.symbols} or None
    with (
        Landings.listen(symbols) as landings,
        Session.open(
            packages, broker, shares=shares, limits=limits.in_force(), purpose=Purpose.TRADE, winds_up=winds_up
        ) as session,
    ):
        trading = ", ".join(package.model_id for package in packages) or "no model, only what retired ones left behind"
        tell(f"account {session.account_id} at {name}, {mode} trading: {trading}")
        tell(limits.in_words())
        go_on(session, landings, is_over.is_set, tell)
        if options.on_stop == "flatten":
            return _end_flat(session, options.wait, tell)
    tell(f"account {session.account_id}: orders and positions stay as they are")
    return 0


def _shadow(*, follows: bool) -> int:
    if follows:
        is_over = _asked_to_end()
        with Landings.listen() as landings, Shadow() as shadow:
            follow(shadow, landings, is_over.is_set, lambda line: print(line, flush=True))
        return 0
    with Shadow() as shadow:
        passed = shadow.decide()
    for seen in passed:
        print(seen)
    if not passed:
        print("no model is in state shadow: nothing to decide")
    return 1 if any(seen.aside for seen in passed) else 0


def _asked_to_end() -> threading.Event:
    """Set by SIGTERM and Ctrl-C, which end nothing else any more."""
    is_over = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: is_over.set())
    return is_over


def _end_flat(session: Session, seconds: float, tell: Callable[[str], None]) -> int:
    if session.flatten(seconds):
        tell(f"account {session.account_id}: every position is closed")
        return 0
    for concern in session.concerns():
        tell(concern)
    tell(f"account {session.account_id} is not flat yet: the next session goes on with it")
    return 1


def _reconcile(name: str, mode: Mode) -> int:
    broker = log_in(name, mode)
    try:
        account_id = broker.account().account_id
        try:
            with registration.opened(broker, account_id, Purpose.RECONCILE) as ledger:
                result = reconcile(broker, ledger, "by hand", time.sleep)
                # a halt takes back what is open
                for withdrawal in recall(broker, ledger):
                    print(withdrawal)
        except Occupied as busy:
            print(f"{busy}; this is a look beside it, and books nothing")
            with Ledger.view(account_id) as ledger:
                result = look(broker, ledger, "by hand", time.sleep)
    finally:
        broker.close()
    print(f"account {account_id}: {result.outcome}")
    for finding in result.findings:
        print(f"  {finding}")
    if result.outcome == "awaiting":
        print("it may be that the broker shows a fill of the last minutes late: nothing is sent until they agree")
    return 1 if result.comparison.discrepancies else 0


def _adopt(options: argparse.Namespace) -> int:
    if not options.reason.strip():
        raise Stop("--reason is empty: say why this is right")
    broker = log_in(options.broker, Mode(options.mode))
    try:
        account_id = broker.account().account_id
        with Ledger.open(account_id, broker.name, broker.mode, Purpose.ADOPT) as ledger:
            done = _acknowledge(broker, ledger, options)
    finally:
        broker.close()
    for line in done.booked:
        print(f"booked: {line}")
    print(f"account {account_id}: {done.result.outcome}")
    for finding in done.result.findings:
        print(f"  {finding}")
    if done.result.outcome == "discrepancy":
        return 1
    print("`python -m execution release` lets it trade again, if it is halted")
    return 0


def _acknowledge(broker: Broker, ledger: Ledger, options: argparse.Namespace) -> Acknowledged:
    apart: list[str] = options.hold_apart
    if options.reset:
        if options.about:
            raise Stop("--reset begins anew from everything the broker states: leave --about out")
        return begin_epoch(broker, ledger, options.reason, time.sleep, apart=apart)
    if options.all or options.about or apart:
        about = None if options.all else options.about
        return adopt(broker, ledger, about, options.reason, time.sleep, apart=apart)
    raise Stop("say what to adopt: --all, --about SUBJECT as `python -m execution reconcile` names it, or --reset")


def _account(account_id: str | None) -> str:
    with connect("executor", read_only=True) as connection:
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
