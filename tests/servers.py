"""On which PostgreSQL the tests' warehouses are: the embedded one, or one of one's own where that is asked for.

TRUEBAR_TESTS_POSTGRES is 15 or 18, or the folder of another version's programs. Every warehouse is then on a server of
its own with passwords, which is reached over TCP. Its administrator owns the database and may create roles, and may
nothing else: a superuser is only there for what no administrator of the product may do.
"""

import hashlib
import os
import signal
import subprocess
from dataclasses import replace
from pathlib import Path

import psycopg

from tests import own_server
from tests.own_server import BINARIES, Server
from warehouse import embedded
from warehouse.connection import endpoint, open_connection

ASKED_FOR = os.environ.get("TRUEBAR_TESTS_POSTGRES")

_DATABASE, _ADMINISTRATOR = "truebar", "administrator"

# by state folder
_processes: dict[Path, subprocess.Popen[bytes]] = {}


def start(state_dir: Path) -> None:
    """Start the server of a state folder, make its data if there are none, and lead the environment to it."""
    if not ASKED_FOR:
        embedded.start(state_dir)
        return
    data, server = _data(state_dir), _server(state_dir)
    is_new = not data.exists()
    if is_new:
        own_server.make(data, programs())
    _processes[state_dir] = own_server.start(server, data, programs())
    if is_new:
        server.owned_by(_ADMINISTRATOR, dbname=_DATABASE)
    os.environ |= variables(state_dir)


def stop(state_dir: Path) -> None:
    """End the server of a state folder; open transactions roll back."""
    if not ASKED_FOR:
        embedded.stop(state_dir)
    elif process := _processes.pop(state_dir, None):
        # the default would wait until every client has left
        process.send_signal(signal.SIGINT)
        process.wait(timeout=60)


def variables(state_dir: Path) -> dict[str, str]:
    """What leads a process to the server of a state folder."""
    found = {"TRUEBAR_STATE_DIR": str(state_dir)}
    return found | {"DATABASE_URL": _server(state_dir).url(_ADMINISTRATOR, _DATABASE)} if ASKED_FOR else found


def copy(template: Path, state_dir: Path) -> None:
    """The data of a stopped server into another state folder, with the passwords of its roles."""
    name = _data(template).name if ASKED_FOR else "pg"
    # with its owner: where root runs the tests, the server has a user of its own
    subprocess.run(["cp", "-a", str(template / name), str(state_dir)], check=True)
    if ASKED_FOR and (template / "pgpass").exists():
        (state_dir / "pgpass").touch(mode=0o600)
        lines = (template / "pgpass").read_text().replace(f"{host(template)}:", f"{host(state_dir)}:")
        (state_dir / "pgpass").write_text(lines)


def host(state_dir: Path) -> str:
    """What PGHOST is for the server of a state folder, also after it has stopped.

    Servers of one's own differ in their address and have one port, as embedded ones have: dbt notes the port with what
    it has read of the project. A folder that is made aside has the address of the one that it becomes.
    """
    if not ASKED_FOR:
        return (state_dir / "pg_socket").read_text()
    digits = hashlib.sha256(str(state_dir.with_suffix("")).encode()).digest()
    return f"127.{digits[0]}.{digits[1]}.{digits[2] % 254 + 1}"


def as_superuser(dbname: str | None = None) -> psycopg.Connection:
    """A connection to the environment's database, or another of its server, past every right."""
    where = endpoint()
    if not where.is_embedded:
        where = replace(where, admin_user="postgres", admin_password="super")
    return open_connection(where, where.conninfo(dbname=dbname))


def programs() -> Path:
    """The folder with the programs of the servers, `pg_dump` among them."""
    if not ASKED_FOR:
        return embedded.BIN_DIR
    name = ASKED_FOR
    return BINARIES[int(name)] if name.isdigit() else Path(name)


def _data(state_dir: Path) -> Path:
    # another name than the embedded server's, which would take it for its own
    return state_dir / "own"


def _server(state_dir: Path) -> Server:
    return Server(0, 5432, "super", host(state_dir))
