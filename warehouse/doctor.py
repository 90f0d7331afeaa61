"""python -m warehouse doctor: what of this machine's set-up will fail, and one command that mends each."""

import os
import re
import shlex
import stat
import sys
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from warehouse import embedded, embedded_files, needs, roles, versions
from warehouse.connection import endpoint, open_connection, uses_embedded
from warehouse.errors import OperatorError
from warehouse.server_user import server_user
from warehouse.sessions import ROLES
from warehouse.settings import PROJECT_DIR, Settings, load


@dataclass(frozen=True)
class Finding:
    """What was looked at, and a command that mends it where it is wrong."""

    text: str
    command: str | None = None

    @property
    def is_wrong(self) -> bool:
        return self.command is not None


def examine() -> Iterator[Finding]:
    """Look at everything in which other people's machines were found to differ. A look that fails stops no other."""
    try:
        settings = load()
    except OperatorError as error:
        yield _from_error(error, "edit the environment or .env")
        return
    looks: tuple[Callable[[Settings], Iterator[Finding]], ...] = (
        *(_python, _packages, _secrets, _room, _state_folder, _data_folder, _database, _prefect),
    )
    for look in looks:
        try:
            yield from look(settings)
        except OperatorError as error:
            yield _from_error(error, "python -m warehouse up")


def _from_error(error: OperatorError, otherwise: str) -> Finding:
    """Errors name the command that helps in backquotes."""
    named = re.search(r"`([^`]+)`", str(error))
    return Finding(str(error), named[1] if named else otherwise)


def _python(_: Settings) -> Iterator[Finding]:
    own = PROJECT_DIR / ".venv"
    found = f"Python {sys.version.split()[0]} in {sys.prefix}"
    if Path(sys.prefix).resolve() == own.resolve() or not own.exists():
        yield Finding(found)
    else:
        yield Finding(
            f"{found}, which is not this checkout's", f"{shlex.quote(str(own / 'bin' / 'python'))} -m warehouse doctor"
        )


def _packages(_: Settings) -> Iterator[Finding]:
    """Other versions than the tested ones may work; the newest that pyproject.toml allows do."""
    wanted = dict(re.findall(r"^([A-Za-z0-9_.-]+)==(\S+)", (PROJECT_DIR / "constraints.txt").read_text(), re.MULTILINE))
    differing = [
        f"{name} {found} (tested: {pinned})"
        for name, pinned in wanted.items()
        if (found := _version(name)) not in (None, pinned)
    ]
    if differing:
        shown = ", ".join(differing[:3]) + (f" and {len(differing) - 3} more" if len(differing) > 3 else "")
        yield Finding(f"packages differ from constraints.txt: {shown}", "rm -f .venv/.installed && make install")
    else:
        yield Finding("packages are as in constraints.txt")


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _secrets(settings: Settings) -> Iterator[Finding]:
    """libpq takes no password from a file that others can read, and says so only on a terminal."""
    for path in (PROJECT_DIR / ".env", settings.state_dir / "pgpass"):
        if path.exists():
            if stat.S_IMODE(path.stat().st_mode) & 0o077:
                yield Finding(f"{path} can be read by other users", f"chmod 600 {shlex.quote(str(path))}")
            else:
                yield Finding(f"{path} is readable by its owner alone")


def _room(settings: Settings) -> Iterator[Finding]:
    try:
        needs.check("the demo", needs.DEMO, settings.state_dir)
    except OperatorError as error:
        yield _from_error(error, "export TRUEBAR_STATE_DIR=/another/disk/truebar")
    else:
        memory, disk = needs.free_memory(), needs.free_disk(settings.state_dir)
        yield Finding(f"{memory:,} MB of memory and {disk:,} MB of disk are free; {needs.DEMO}")


def _state_folder(settings: Settings) -> Iterator[Finding]:
    folder = settings.state_dir
    nearest = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    if not os.access(nearest, os.W_OK):
        yield Finding(f"the state folder {folder} cannot be written", "export TRUEBAR_STATE_DIR=$HOME/.truebar")
        return
    try:
        embedded_files.refuse_network(folder)
    except OperatorError as error:
        yield Finding(str(error), "export TRUEBAR_STATE_DIR=/a/local/folder")
        return
    # root's PostgreSQL runs as another user, who passes through
    allowed = 0o711 if os.geteuid() == 0 else 0o700
    if folder.exists() and stat.S_IMODE(folder.stat().st_mode) & ~allowed:
        yield Finding(
            f"the state folder {folder} can be read by other users", f"chmod {allowed:o} {shlex.quote(str(folder))}"
        )
    stuck = folder / "stuck.log"
    if stuck.exists() and stuck.stat().st_size:
        yield Finding(
            f"a command had to be ended by force; {stuck} says where it stood", f"rm {shlex.quote(str(stuck))}"
        )
    yield Finding(f"the state folder {folder} can be written")


def _data_folder(settings: Settings) -> Iterator[Finding]:
    """The embedded server's folder, and what interrupted starts left beside it."""
    if not uses_embedded(settings):
        return
    data = embedded.data_dir(settings.state_dir)
    for half in sorted(settings.state_dir.glob("pg.incomplete-*")):
        yield Finding(
            f"{half} was left by a start that was killed, and holds nothing", f"rm -r {shlex.quote(str(half))}"
        )
    server_user(data, embedded.BIN_DIR)
    if data.exists():
        embedded_files.check_version(data)
        yield Finding(f"the embedded PostgreSQL has its data in {data}")
    else:
        yield Finding("the embedded PostgreSQL has no data yet; the first start makes them")


def _database(settings: Settings) -> Iterator[Finding]:
    """Reach, rights, roles, passwords, and the version of what is in it."""
    if uses_embedded(settings) and embedded.socket_dir(settings.state_dir) is None:
        yield Finding("the embedded PostgreSQL is not running; commands that need it start it, or say how")
        return
    where = endpoint(settings)
    with open_connection(where, where.conninfo(), autocommit=True) as connection:
        roles.check_rights(connection, where)
        yield Finding(f"PostgreSQL {connection.info.server_version // 10000} answers at {where.place}")
        difference = versions.compare(connection)
        if len(difference.missing) == len(versions.available()):
            yield Finding("the database is empty", "python -m warehouse up")
            return
        if sentence := difference.sentence():
            yield _from_error(OperatorError(sentence), "python -m warehouse migrate")
        else:
            yield Finding("code and database are of one version")
        roles.check_ours(connection, where)
    roles.check_logins(where)
    for role in ROLES:
        open_connection(where, where.conninfo(role)).close()
    yield Finding(f"all {len(ROLES)} roles can log in")


def _prefect(_: Settings) -> Iterator[Finding]:
    address = os.environ.get("PREFECT_API_URL")
    if not address:
        yield Finding("PREFECT_API_URL is not set: each command starts a Prefect server of its own")
        return
    try:
        urllib.request.urlopen(f"{address}/health", timeout=10).close()
    except (OSError, ValueError) as error:
        reason = getattr(error, "reason", error)
        yield Finding(f"no Prefect server answers at PREFECT_API_URL {address} ({reason})", "unset PREFECT_API_URL")
    else:
        yield Finding(f"a Prefect server answers at {address}")
