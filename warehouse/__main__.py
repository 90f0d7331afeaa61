"""python -m warehouse up|down|status|doctor|migrate|rotate|backup|restore|psql|env"""

import argparse
import json
import os
import shlex
import shutil
import signal
import sys
from pathlib import Path

from warehouse import embedded, roles, versions
from warehouse.backup import backup as write_backup
from warehouse.backup import restore
from warehouse.command_names import name_command
from warehouse.connection import endpoint, open_connection
from warehouse.doctor import examine
from warehouse.errors import OperatorError, Stop
from warehouse.migrate import bring_up, migrate
from warehouse.refusals import in_words
from warehouse.rows import scalar
from warehouse.sessions import ROLES
from warehouse.settings import load


def main(arguments: list[str] | None = None, *, called: str | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m warehouse", description="Start, inspect and reach the database.")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("up", help="start the embedded PostgreSQL (unless another is configured) and migrate it")
    commands.add_parser("down", help="stop the embedded PostgreSQL")
    status = commands.add_parser("status", help="say where the database is and what is applied")
    doctor = commands.add_parser(
        "doctor", help="examine this machine's set-up; print a command that mends each thing wrong"
    )
    for command in (status, doctor):
        command.add_argument("--json", action="store_true", help="for programs")
    commands.add_parser("migrate", help="apply new migrations")
    commands.add_parser("rotate", help="give the roles new passwords, on a server with passwords")
    backup = commands.add_parser("backup", help="write the database and the model packages into a folder")
    backup.add_argument("folder", nargs="?", type=Path, help="default: backups in the state folder")
    backup.add_argument("--keep", type=_count, metavar="N", help="remove all but the newest N backups of the folder")
    restore = commands.add_parser("restore", help="fill an empty database from a backup, or a folder's newest one")
    restore.add_argument("folder", type=Path)
    psql = commands.add_parser("psql", help="open psql; further arguments go to it, for example -c 'select 1'")
    psql.add_argument("--role", choices=ROLES, default="analyst", help="role to log in as (default: %(default)s)")
    env = commands.add_parser("env", help='print shell exports: eval "$(python -m warehouse env)"')
    env.add_argument("--role", choices=ROLES, default="transformer", help="role to log in as (default: %(default)s)")
    name_command(parser, arguments, called)
    options, for_psql = parser.parse_known_args(arguments)
    if for_psql and options.command != "psql":
        parser.error(f"unrecognized arguments: {' '.join(for_psql)}")
    try:
        if options.command in ("backup", "restore"):
            _end_like_ctrl_c()
        with in_words():
            return _run(options, for_psql)
    except OperatorError as error:
        print(f"warehouse: {error}", file=sys.stderr)
        return error.exit_status
    except KeyboardInterrupt:
        print("\nwarehouse: interrupted; nothing is left half done", file=sys.stderr)
        return 130


def _run(options: argparse.Namespace, for_psql: list[str]) -> int:
    match options.command:
        case "up":
            bring_up()
            print(f"PostgreSQL is up at {endpoint().place}")
        case "down":
            stopped = embedded.stop(load().state_dir)
            print("embedded PostgreSQL stopped" if stopped else "the embedded PostgreSQL was not running")
        case "status":
            _status(as_json=options.json)
        case "doctor":
            return _doctor(as_json=options.json)
        case "migrate":
            names = migrate()
            print("\n".join(f"applied {name}" for name in names) or "nothing to apply")
        case "rotate":
            where = endpoint()
            with open_connection(where, where.conninfo(), autocommit=True) as connection:
                roles.rotate(connection, where)
            print(f"the roles at {where.place} have new passwords, which are in {where.passfile}")
        case "backup":
            print(f"backed up to {write_backup(options.folder, keep=options.keep, say=_say)}")
        case "restore":
            for name in restore(options.folder, say=_say):
                print(f"left alone, because it was there: the model package {name}")
            print(f"restored to {endpoint().place}: `dbt build` goes on from there")
        case "psql":
            _psql(options.role, for_psql)
        case "env":
            for name, value in _environment(options.role).items():
                print(f"export {name}={shlex.quote(value)}")
    return 0


def _end_like_ctrl_c() -> None:
    """Let SIGTERM and a closed terminal take back what is half done, as Ctrl-C does."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        # ignored by whoever started it, `nohup` for one
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, signal.default_int_handler)


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text} is not a whole number from 1 on")
    return int(text)


def _status(*, as_json: bool) -> None:
    where = endpoint()
    with open_connection(where, where.conninfo("analyst")) as connection:
        number = connection.info.server_version
        difference = versions.compare(connection)
        facts = {
            "place": where.place,
            "version": f"{number // 10000}.{number % 10000}",
            "connections": scalar(
                connection.execute("select count(*) from pg_stat_activity where datname = current_database()")
            ),
            "embedded": where.is_embedded,
            "migrations_on_disk": len(versions.available()),
            "not_applied": list(difference.missing),
            "unknown": list(difference.unknown),
        }
    if as_json:
        print(json.dumps(facts, indent=2))
        return
    print(f"{facts['place']}: PostgreSQL {facts['version']}, {facts['connections']} connections")
    print(f"embedded: {'yes' if where.is_embedded else 'no'}, migrations on disk: {facts['migrations_on_disk']}")
    print(f"not applied here: {', '.join(difference.missing) or 'none'}")
    if difference.unknown:
        print(f"applied, and unknown to this code: {', '.join(difference.unknown)}")


def _doctor(*, as_json: bool) -> int:
    """Exit status 0 when nothing is wrong, 1 when something is."""
    found = []
    for finding in examine():
        found.append(finding)
        if as_json:
            continue
        print(f"{'wrong' if finding.is_wrong else 'ok':7}{finding.text}", flush=True)
        if finding.is_wrong:
            print(f"       ▸ {finding.command}")
    if as_json:
        print(
            json.dumps([{"wrong": one.is_wrong, "text": one.text, "command": one.command} for one in found], indent=2)
        )
    return 1 if any(finding.is_wrong for finding in found) else 0


def _environment(role: str) -> dict[str, str]:
    variables = endpoint().environment(role)
    if not shutil.which("psql"):
        variables["PATH"] = f"{embedded.BIN_DIR}:{os.environ.get('PATH', '')}"
    return variables


def _psql(role: str, arguments: list[str]) -> None:
    program = shutil.which("psql") or str(embedded.BIN_DIR / "psql")
    if not os.path.exists(program):
        raise Stop("psql was not found, neither on PATH nor with the embedded PostgreSQL")
    os.execvpe(program, [program, *arguments], {**os.environ, **_environment(role)})


if __name__ == "__main__":
    sys.exit(main())
