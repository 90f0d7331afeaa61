"""python -m warehouse doctor: what of this machine's set-up will fail, and one command that mends each."""

import base64
import os
import re
import shlex
import stat
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from difflib import get_close_matches
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import psycopg

from warehouse import embedded, embedded_files, homes, needs, roles, transactions, versions
from warehouse.connection import endpoint, open_connection, uses_embedded
from warehouse.errors import OperatorError
from warehouse.server_user import server_user
from warehouse.sessions import ROLES
from warehouse.settings import PROJECT_DIR, Settings, load

# names that look like a setting's and are somebody else's
_OTHERS_NAMES = (
    *("TRUEBAR_TESTS", "TRUEBAR_TESTS_POSTGRES", "TRUEBAR_TESTS_TEMPLATES"),
    *("PGPASSFILE", "PGSSLMODE", "PGOPTIONS", "PGAPPNAME"),
)
_SAFE_ADDRESS = re.compile(r"(https|wss)://|(http|ws)://(127\.0\.0\.1|localhost|\[::1\])(:|/|$)")

# a collector says every ten seconds that it is alive
_DEAD_FEEDS = """
    select source, timeframe, heartbeat_at
    from raw.feeds
    where state not in ('stopped', 'failed') and heartbeat_at < now() - interval '2 minutes'
    order by source, timeframe
"""


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
        *(_python, _packages, _names, _keys, _addresses, _secrets, _room, _state_folder, _models_folder, _data_folder),
        *(_database, _prefect),
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


def _names(_: Settings) -> Iterator[Finding]:
    """A name that is nearly a setting's is none: nobody would notice that it counts for nothing."""
    known = [str(field.alias) for field in Settings.model_fields.values()]
    file = PROJECT_DIR / ".env"
    written = re.findall(r"^\s*(?:export\s+)?([A-Z_]+)\s*=", file.read_text(), re.MULTILINE) if file.exists() else []
    for name in sorted({*os.environ, *written} - {*known, *_OTHERS_NAMES}):
        meant = get_close_matches(name, known, 1, 0.88) or ([known[0]] if name.startswith("TRUEBAR_") else [])
        if meant:
            mend = f"unset {name}" if name in os.environ else f"sed -i /{name}=/d {shlex.quote(str(file))}"
            yield Finding(f"{name} is no setting of truebar and counts for nothing; one is called {meant[0]}", mend)


def _keys(settings: Settings) -> Iterator[Finding]:
    """A broker's key is worth nothing without its other half."""
    pairs = (
        (("APCA_API_KEY_ID", settings.alpaca_key_id), ("APCA_API_SECRET_KEY", settings.alpaca_secret_key)),
        (
            ("BINANCE_TRADING_KEY", settings.binance_trading_key),
            ("BINANCE_TRADING_SECRET", settings.binance_trading_secret or settings.binance_trading_private_key),
        ),
    )
    for halves in pairs:
        missing = [name for name, value in halves if not value]
        if len(missing) == 1:
            there = next(name for name, _ in halves if name != missing[0])
            yield Finding(f"{there} is set and {missing[0]} is not", f"echo '{missing[0]}=…' >> .env")


def _addresses(settings: Settings) -> Iterator[Finding]:
    """Keys go to vendors and brokers over TLS, or to this machine; whose host it is, the vendor's module says."""
    for name, field in Settings.model_fields.items():
        value = getattr(settings, name)
        if name.endswith("_url") and name != "database_url" and value and not _SAFE_ADDRESS.match(value):
            yield Finding(f"{field.alias} is neither https nor wss, and not on this machine", f"unset {field.alias}")


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
    if not _can_be_written(folder):
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


def _can_be_written(folder: Path) -> bool:
    """Whether it is a folder that we may write, or could be made as one."""
    nearest = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    return nearest.is_dir() and os.access(nearest, os.W_OK)


def _models_folder(settings: Settings) -> Iterator[Finding]:
    """Where training writes packages of models, and execution reads them."""
    folder = settings.models_dir
    if _can_be_written(folder):
        yield Finding(f"the folder of models {folder} can be written")
    else:
        yield Finding(f"the folder of models {folder} cannot be written", "unset TRUEBAR_MODELS_DIR")


def _data_folder(settings: Settings) -> Iterator[Finding]:
    """The embedded server's folder, and what interrupted starts left beside it."""
    if not uses_embedded(settings) or not _can_be_written(settings.state_dir):
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
            if transactions.are_behind(connection):
                yield Finding("the database was filled from a dump: its rows are ahead", "python -m warehouse migrate")
            if homes.has_moved(connection):
                yield Finding(homes.MOVED, "python -m warehouse migrate")
        yield from _feeds(connection)
        roles.check_ours(connection, where)
    roles.check_logins(where)
    yield Finding(f"all {len(ROLES)} roles can log in")


def _feeds(connection: psycopg.Connection) -> Iterator[Finding]:
    """A collector that was killed leaves a feed that says it is live, and a heartbeat that grows old."""
    for source, timeframe, since in connection.execute(_DEAD_FEEDS).fetchall():
        yield Finding(
            f"the collector of {source} {timeframe} has died: it was last alive at {since:%Y-%m-%d %H:%M} UTC",
            f"python -m loaders collect --source {source} --timeframe {timeframe}",
        )


def _prefect(_: Settings) -> Iterator[Finding]:
    address = os.environ.get("PREFECT_API_URL")
    if not address:
        yield Finding("PREFECT_API_URL is not set: each command starts a Prefect server of its own")
        return
    request = urllib.request.Request(f"{address}/admin/version")
    if credential := os.environ.get("PREFECT_API_AUTH_STRING"):
        request.add_header("Authorization", f"Basic {base64.b64encode(credential.encode()).decode()}")
    try:
        urllib.request.urlopen(request, timeout=10).close()
    except urllib.error.HTTPError as error:
        yield Finding(
            f"the Prefect server at PREFECT_API_URL {address} answers {error.code} to PREFECT_API_AUTH_STRING",
            'eval "$(python -m flows access)"',
        )
    except (OSError, ValueError) as error:
        reason = getattr(error, "reason", error)
        yield Finding(f"no Prefect server answers at PREFECT_API_URL {address} ({reason})", "unset PREFECT_API_URL")
    else:
        yield Finding(f"a Prefect server answers at {address}")
