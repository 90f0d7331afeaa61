"""The roles' passwords on a server with passwords: lines of a libpq password file, which many databases may share.

A rotation writes its place's new lines aside, into `pgpass.new`, before the database has them, and puts them in place
afterwards. Whenever it ends, one of the two files lets roles in.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg
from psycopg.conninfo import make_conninfo

from warehouse.locks import exclusive
from warehouse.sessions import ROLES
from warehouse.settings import make_state_dir

if TYPE_CHECKING:
    from warehouse.connection import Endpoint

# A libpq looks for the socket folder that it was built with under `localhost`. Debian's, psycopg's and dbt's is the
# first, and the second is that of PostgreSQL's own build, from which ADBC, psql and pg_dump come.
_DEFAULT_FOLDERS = ("/var/run/postgresql", "/tmp", "/run/postgresql")


@contextmanager
def held(where: "Endpoint") -> Iterator[None]:
    """For the block, nobody else changes the password files. Raises Stop when somebody does so for a minute."""
    make_state_dir(where.passfile.parent)
    with exclusive(where.passfile.with_suffix(".lock"), "giving new passwords", wait=60):
        yield


def write(where: "Endpoint", passwords: dict[str, str]) -> None:
    """Put passwords of roles in place (mode 0600), instead of older ones of the same roles, hosts and database."""
    if passwords:
        with held(where):
            _replace(where.passfile, where, passwords)


def write_aside(where: "Endpoint", passwords: dict[str, str]) -> None:
    """Put passwords where they wait for the database to know them. Whoever calls this holds the files."""
    _replace(where.new_passfile, where, passwords)


def forget_aside(where: "Endpoint") -> None:
    """Remove what waits for this place's database. Whoever calls this holds the files."""
    _rewrite(where.new_passfile, _starts(where, ROLES), [])


def put_in_place(where: "Endpoint") -> None:
    """Take this place's lines from those that wait. Whoever calls this holds the files."""
    if lines := _waiting(where):
        _rewrite(where.passfile, _starts(where, ROLES), lines)
        forget_aside(where)


def settle(where: "Endpoint") -> None:
    """Put this place's new passwords in place where its database knows them; until then the older ones hold.

    Another place's lines are left to who connects there.
    """
    lines = _waiting(where)
    if not lines or not _are_known(where):
        return
    # where nobody may write, the file that was there is read
    with suppress(OSError), held(where):
        # somebody else may have done it meanwhile, or given others that nobody has judged yet
        if _waiting(where) == lines:
            put_in_place(where)


def _are_known(where: "Endpoint") -> bool:
    # a rotation is one transaction, so one role speaks for all
    user = where.role_name(ROLES[0])
    login = make_conninfo(**where.parameters, user=user, password="", passfile=str(where.new_passfile))
    try:
        with psycopg.connect(login, connect_timeout=10) as connection:
            # a server that asks for none tells nothing about them
            return bool(connection.pgconn.used_password)
    except psycopg.OperationalError:
        return False


def _waiting(where: "Endpoint") -> list[str]:
    starts = _starts(where, ROLES)
    return [line for line in _lines(where.new_passfile) if line.startswith(starts)]


def _starts(where: "Endpoint", roles: "tuple[str, ...] | dict[str, str]") -> tuple[str, ...]:
    return tuple(start for role in roles for start in _entry_starts(where, role))


def _entry_starts(where: "Endpoint", role: str) -> list[str]:
    """What a role's lines begin with: one for each name under which libpq looks for this place's hosts."""
    database = (where.parameters["dbname"], where.role_name(role), "")
    return [":".join(map(_escaped, (*address, *database))) for address in _addresses(where.parameters)]


def _addresses(parameters: dict[str, str]) -> list[tuple[str, str]]:
    """Hosts and ports as libpq looks for them in a password file; `*` where libpq's own variables decide."""
    if "host" not in parameters:
        hosts = ["*"]
    else:
        # an address is looked for where its host has no name
        pairs = zip_longest(parameters["host"].split(","), parameters.get("hostaddr", "").split(","), fillvalue="")
        hosts = [host or address or "localhost" for host, address in pairs]
    ports = parameters.get("port", "*").split(",")
    if len(ports) == 1:
        ports *= len(hosts)
    found: dict[tuple[str, str], None] = {}
    for host, port in zip(hosts, ports, strict=False):
        found[host, port or "*"] = None
        if host in _DEFAULT_FOLDERS:
            found["localhost", port or "*"] = None
    return list(found)


def _escaped(field: str) -> str:
    return field.replace("\\", "\\\\").replace(":", "\\:")


def _lines(path: Path) -> list[str]:
    return path.read_text().splitlines() if path.exists() else []


def _replace(path: Path, where: "Endpoint", passwords: dict[str, str]) -> None:
    new = [start + password for role, password in passwords.items() for start in _entry_starts(where, role)]
    _rewrite(path, _starts(where, passwords), new)


def _rewrite(path: Path, starts: tuple[str, ...], new: list[str]) -> None:
    """Put new lines instead of those that begin so, whole or not at all; a file without lines is none."""
    lines = [line for line in _lines(path) if not line.startswith(starts)] + new
    if not lines:
        path.unlink(missing_ok=True)
        return
    aside = path.with_name(f"{path.name}.part")
    aside.touch(mode=0o600)
    aside.chmod(0o600)
    with aside.open("w") as file:
        file.write("\n".join(lines) + "\n")
        file.flush()
        # the database may outlive a loss of power, and then nobody else knows them
        os.fsync(file.fileno())
    aside.rename(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
