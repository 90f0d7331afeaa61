"""Connections, one role per subsystem.

`DATABASE_URL` or libpq's variables name any PostgreSQL 15 or newer; with neither, the embedded server is used.
Each subsystem logs in as its own role. The roles' passwords are in a libpq password file that only this user can read.
"""

import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import psycopg
from psycopg import pq
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from warehouse import embedded, homes, passfile, sessions, transactions, versions
from warehouse.errors import LoginRefused, NotStarted, Stop, Unreachable
from warehouse.sessions import READERS, ROLES
from warehouse.settings import Settings, load

if TYPE_CHECKING:
    import pyarrow
    from adbc_driver_manager import AdbcDatabase

MINIMUM_VERSION = 15

# where libpq looks for what a connection string does not say: PGHOST for host, PGSSLROOTCERT for sslrootcert
_VARIABLES = {one.keyword.decode(): one.envvar.decode() for one in pq.Conninfo.get_defaults() if one.envvar}


@dataclass(frozen=True)
class Endpoint:
    """Where the database is: libpq parameters without credentials, and the administrator's credentials apart."""

    parameters: dict[str, str]
    is_embedded: bool
    passfile: Path
    role_prefix: str
    admin_user: str | None
    admin_password: str | None

    def __repr__(self) -> str:
        return f"Endpoint({self.place})"

    @property
    def place(self) -> str:
        """A name for messages: host, port and database, never a credential."""
        parameters = self.parameters
        return f"{parameters.get('host', 'localhost')}:{parameters.get('port', '5432')}/{parameters['dbname']}"

    @property
    def new_passfile(self) -> Path:
        """Where passwords wait for the database to know them."""
        return self.passfile.with_name(self.passfile.name + ".new")

    def role_name(self, role: str) -> str:
        """What a role is called in the database. Raises Stop for what is not one of ROLES."""
        if role not in ROLES:
            raise Stop(f"unknown role {role!r}: one of {', '.join(ROLES)}")
        return self.role_prefix + role

    def conninfo(self, role: str | None = None, dbname: str | None = None) -> str:
        """A libpq connection string for a role, or for the administrator when role is None."""
        parameters = dict(self.parameters, dbname=dbname or self.parameters["dbname"], options=sessions.options(role))
        if role is None:
            return make_conninfo(**parameters, user=self.admin_user, password=self.admin_password)
        return make_conninfo(**parameters, **self._role_login(role))

    def environment(self, role: str) -> dict[str, str]:
        """The libpq variables under which dbt and psql connect as a role."""
        variables = {_VARIABLES[key]: value for key, value in self.parameters.items() if key in _VARIABLES}
        variables["PGUSER"] = self.role_name(role)
        variables["PGOPTIONS"] = sessions.options(role)
        if self.passfile.exists() and not self.is_embedded:
            # libpq takes PGPASSWORD before the file, and that is the administrator's
            variables |= {"PGPASSFILE": str(self.passfile), "PGPASSWORD": ""}
        return variables

    def reading_uri(self, role: str) -> str:
        """The same connection as a URI, which is what ADBC takes, to read and never to write."""
        values = {**self.parameters, **self._role_login(role), "options": sessions.options(role, read_only=True)}
        return "postgresql:///?" + "&".join(f"{key}={quote(str(value), safe='')}" for key, value in values.items())

    def _role_login(self, role: str) -> dict[str, str]:
        login = {"user": self.role_name(role)}
        if self.passfile.exists() and not self.is_embedded:
            # an empty password is none to libpq, and lets it not look for the administrator's in the environment
            login |= {"passfile": str(self.passfile), "password": ""}
        return login


def endpoint(settings: Settings | None = None) -> Endpoint:
    """Resolve the database from settings. Raises Stop when it is the embedded server and that is down.

    Passwords that a rotation gave, and did not come to put in place, are put there.
    """
    where = _resolved(settings or load())
    if not where.is_embedded:
        passfile.settle(where)
    return where


def _resolved(settings: Settings) -> Endpoint:
    file = settings.state_dir / "pgpass"
    if settings.database_url:
        parameters = {key: str(value) for key, value in _parse(settings.database_url.get_secret_value()).items()}
        parameters.setdefault("dbname", settings.pgdatabase)
        # of several hosts the URL names the port again and again, and dbt takes one
        ports = parameters.get("port", "").split(",")
        if len(ports) > 1 and len(set(ports)) == 1:
            parameters["port"] = ports[0]
        user, password = parameters.pop("user", None), parameters.pop("password", None)
        administrator = user or settings.pguser, password or _password(settings)
        return Endpoint(parameters, False, file, settings.role_prefix, *administrator)
    if not uses_embedded(settings):
        parameters = {"host": str(settings.pghost), "port": str(settings.pgport), "dbname": settings.pgdatabase}
        if os.environ.get("PGSSLMODE"):
            parameters["sslmode"] = os.environ["PGSSLMODE"]
        return Endpoint(parameters, False, file, settings.role_prefix, settings.pguser, _password(settings))
    socket = embedded.socket_dir(settings.state_dir)
    if not socket:
        raise NotStarted("the embedded PostgreSQL is not running: start it with `python -m warehouse up`")
    parameters = {"host": socket, "port": "5432", "dbname": "truebar"}
    return Endpoint(parameters, True, file, settings.role_prefix, embedded.SUPERUSER, None)


def uses_embedded(settings: Settings) -> bool:
    """True when no other server was named."""
    return not settings.database_url and (not settings.pghost or embedded.is_ours(settings.state_dir, settings.pghost))


# places whose version was compared with the code's, once in the life of a process
_compared: set[str] = set()


def connect(role: str, *, autocommit: bool = False, read_only: bool = False) -> psycopg.Connection:
    """Log in as a role (one of ROLES), with the settings of `sessions`.

    With `read_only`, and for readers always, each transaction begins as one that writes nothing, which nothing that is
    read can undo. Raises Unreachable when no server answers, and Stop for a role that writes when the database is not
    of this code's version.
    """
    where = endpoint()
    try:
        connection = open_connection(where, where.conninfo(role), autocommit=autocommit)
    except LoginRefused:
        # a rotation may have given new passwords since the file was read
        where = endpoint()
        connection = open_connection(where, where.conninfo(role), autocommit=autocommit)
    try:
        _check_home(connection, where, role)
    except Stop:
        connection.close()
        raise
    except psycopg.OperationalError as error:
        if not connection.broken:
            raise
        raise _not_connected(where, str(error), where.role_name(role)) from None
    connection.read_only = read_only or role in READERS or None
    return connection


def _check_home(connection: psycopg.Connection, where: Endpoint, role: str) -> None:
    """Raise Stop for a role that writes where the database is not of this code's version, or not the one it was."""
    if role not in READERS and where.place not in _compared:
        if sentence := versions.compare(connection).sentence():
            raise Stop(sentence)
        connection.rollback()
        _compared.add(where.place)
    if role == "loader" and transactions.are_behind(connection):
        raise Stop(
            f"PostgreSQL at {where.place} was filled from a dump, and counts transactions anew: what landed now "
            "would never be built. Run `python -m warehouse migrate`"
        )
    if role == "executor" and homes.has_moved(connection):
        raise Stop(f"{homes.MOVED}: run `python -m warehouse migrate`, which halts them, and release what you know")
    if role in ("loader", "executor"):
        connection.rollback()


@contextmanager
def reading(connection: psycopg.Connection) -> Iterator[None]:
    """Read what dbt builds over a connection that also writes: nothing in the block can write, or outlive it.

    A view runs with its reader's rights. A function in it could write as the reader, or set a search path under which
    the reader's next statements call functions of its own. PostgreSQL lets nobody leave a read-only subtransaction, and
    takes its settings back with it. The block opens a transaction when none is open.
    """
    with connection.transaction(force_rollback=True):
        connection.execute("set transaction read only")
        yield


def open_connection(where: Endpoint, conninfo: str, *, autocommit: bool = False) -> psycopg.Connection:
    """Connect with libpq's own words turned into one sentence.

    Raises LoginRefused when the server does not let this user in, Unreachable when it does not answer or has no room,
    and Stop for an old server.
    """
    try:
        connection = psycopg.connect(conninfo, autocommit=autocommit, connect_timeout=10, application_name="truebar")
    except psycopg.OperationalError as error:
        raise _not_connected(where, str(error), str(conninfo_to_dict(conninfo).get("user"))) from None
    major = connection.info.server_version // 10000
    if major < MINIMUM_VERSION:
        connection.close()
        raise Stop(f"PostgreSQL at {where.place} is version {major}: truebar needs {MINIMUM_VERSION} or newer")
    return connection


def arrow(role: str, sql: str, parameters: tuple[object, ...] = ()) -> "pyarrow.Table":
    """Run a query and return its result as columns. Placeholders are `$1`, `$2`, …; times are UTC.

    Raises Unreachable when no server answers, and what psycopg raises for what the server refuses afterwards.
    """
    # imported here: it brings pandas along, for which `warehouse status` and the like would wait two seconds
    from adbc_driver_manager import AdbcConnection, dbapi

    where = endpoint()
    try:
        database = _with_types(where.reading_uri(role))
        connection = dbapi.Connection(_KEPT, AdbcConnection(database))
    except dbapi.Error as error:
        raise _not_connected(where, str(error), where.role_name(role)) from None
    try:
        with connection, connection.cursor() as cursor:
            cursor.execute(sql, parameters or None)
            return cursor.fetch_arrow_table()
    except dbapi.Error as error:
        # ADBC has errors of its own, which nobody who catches a database's refusal would know
        raise _as_psycopg(error.sqlstate)(libpq_reason(str(error))) from None


def _as_psycopg(state: str | None) -> type[psycopg.Error]:
    """The error that psycopg raises for an SQLSTATE; a connection that broke has none, or one that is no state."""
    try:
        return psycopg.errors.lookup(state or "")
    except KeyError:
        return psycopg.OperationalError


@lru_cache(maxsize=8)
def _with_types(uri: str) -> "AdbcDatabase":
    """What makes connections, once in the life of a process: the driver reads every type of the database for it.

    That takes longer than most queries do. Columns that are read have PostgreSQL's own types, which are the same in
    every database. Each query has a connection of its own all the same, and nothing stays open.
    """
    from adbc_driver_postgresql import connect as of_driver

    made: AdbcDatabase = of_driver(uri)
    return made


class _Kept:
    """Closed with each connection in the place of what makes them, which makes the next one too."""

    def close(self) -> None:
        pass


_KEPT: Any = _Kept()


# Of a connection that fails libpq gives no SQLSTATE, only words. They are English here; where a server speaks another
# language it counts as one that is away, as every other failure does.
_REFUSALS = (
    (r'database ".*" does not exist|no such database', "make it, or name another one in DATABASE_URL or PGDATABASE"),
    (r"is not permitted to log in", "somebody took that right from it: give it back, or take another user"),
    (r"permission denied for database", "let it in as the database's owner: `grant connect on database … to …`"),
    (r"password has expired", "give it a new one, or lift its `valid until`, as an administrator"),
    (
        r"(password|SASL|MD5) authentication failed|no password supplied|role \".*\" does not exist",
        None,
    ),
    # PAM, LDAP, certificates and the like, of which truebar's roles know nothing
    (
        r"authentication failed for user",
        "let it in by a password of its own: a line with scram-sha-256 in pg_hba.conf",
    ),
    # PgBouncer, Supavisor and Amazon's RDS Proxy, before they ask PostgreSQL
    (
        r"no such user|[Tt]enant(/| or )user .*not found|RDS proxy has no credentials|auth failed|login rejected",
        "the pooler does not know this user: add it there, or name PostgreSQL itself in DATABASE_URL or PGHOST",
    ),
    (
        r"[Uu]nsupported startup parameter",
        "the pooler does not take the settings that each session starts with: set "
        "`ignore_startup_parameters = options` in pgbouncer.ini, or name PostgreSQL itself in DATABASE_URL or PGHOST",
    ),
    # last: libpq tries again without TLS and tells of both, and of the second only this
    (r"pg_hba\.conf", "let it in there, or connect from elsewhere"),
)
# beside one of these, which pass, what else is told decides nothing
_PASSES = (
    r"too many (clients|connections)|connection slots are reserved|starting up|shutting down|in recovery mode"
    r"|server_login_retry|max_client_conn|Max client connections reached"
)


def _not_connected(where: Endpoint, said: str, user: str) -> Unreachable:
    """What to raise for a connection as a user that failed with these words."""
    reason = libpq_reason(said)
    sentence = f"cannot connect to PostgreSQL at {where.place}: {reason}"
    if re.search(_PASSES, reason):
        return Unreachable(sentence)
    for pattern, remedy in _REFUSALS:
        if re.search(pattern, reason):
            if where.is_embedded or remedy is None:
                remedy = _login_remedy(where, user)
            return LoginRefused(f"{sentence}; {remedy}")
    return Unreachable(sentence)


def _login_remedy(where: Endpoint, user: str) -> str:
    if where.is_embedded:
        return (
            "the embedded server lets in the user who started it: run `python -m warehouse up` as that user, "
            "which makes what is missing"
        )
    if user in map(where.role_name, ROLES):
        return (
            f"the passwords of truebar's roles were made elsewhere: copy {where.passfile.name} from the state folder "
            f"there to {where.passfile}, or give new ones with `python -m warehouse rotate`"
        )
    return "set DATABASE_URL, or PGUSER and PGPASSWORD, in the environment or .env"


def libpq_reason(text: str) -> str:
    """Why a connection failed, out of libpq's several lines: hints and repetitions for each address left out."""
    lines = text.strip().splitlines() or ["no reason given"]
    found = [re.search(r".*(?:FATAL:|failed:|error:)\s*(.+)$", line) for line in lines]
    return "; ".join(dict.fromkeys(match[1] for match in found if match)) or lines[0]


def _parse(url: str) -> Mapping[str, object]:
    found: Mapping[str, object]
    try:
        found = conninfo_to_dict(url)
    except psycopg.ProgrammingError:
        found = {}
    # a slash in a password ends the host too early, and the rest of the password would be the database's name
    if (
        not found
        or "@" in f"{found.get('host')}{found.get('dbname')}"
        or not re.fullmatch(r"[\d,]*", str(found.get("port", "")))
    ):
        raise Stop(
            "DATABASE_URL is not a PostgreSQL URL (postgresql://user:password@host:5432/database): write @ / : # % in "
            "the user or password as %40 %2F %3A %23 %25, or set PGUSER and PGPASSWORD instead"
        )
    return found


def _password(settings: Settings) -> str | None:
    return settings.pgpassword.get_secret_value() if settings.pgpassword else None
