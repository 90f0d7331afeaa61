"""Connections, one role a subsystem.

`DATABASE_URL` or libpq's variables name any PostgreSQL 15 or newer; with neither, the embedded server is used.
Each subsystem logs in as its own role. On a server with passwords, `migrate` gives each role one derived from the
administrator's and keeps them in a libpq password file that only this user can read.
"""

import hashlib
import hmac
import os
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import psycopg
import pyarrow
from adbc_driver_postgresql import dbapi
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from warehouse import embedded
from warehouse.errors import Stop, Unreachable
from warehouse.settings import Settings, load

ROLES = ("loader", "transformer", "trainer", "executor", "analyst")
MINIMUM_VERSION = 15


@dataclass(frozen=True)
class Endpoint:
    """Where the database is: libpq parameters without credentials, and the administrator's credentials apart."""

    parameters: dict[str, str]
    is_embedded: bool
    passfile: Path
    admin_user: str | None
    admin_password: str | None

    def __repr__(self) -> str:
        return f"Endpoint({self.place})"

    @property
    def place(self) -> str:
        """A name for messages: host, port and database, never a credential."""
        parameters = self.parameters
        return f"{parameters.get('host', 'localhost')}:{parameters.get('port', '5432')}/{parameters['dbname']}"

    def conninfo(self, role: str | None = None, dbname: str | None = None) -> str:
        """A libpq connection string for a role, or for the administrator when role is None."""
        parameters = dict(self.parameters, dbname=dbname or self.parameters["dbname"])
        if role is None:
            return make_conninfo(**parameters, user=self.admin_user, password=self.admin_password)
        return make_conninfo(**parameters, **self._role_login(role))

    def environment(self, role: str) -> dict[str, str]:
        """The libpq variables under which dbt and psql connect as a role."""
        names = {"host": "PGHOST", "port": "PGPORT", "dbname": "PGDATABASE", "sslmode": "PGSSLMODE"}
        variables = {names[key]: value for key, value in self.parameters.items() if key in names}
        variables["PGUSER"] = role
        if self.passfile.exists() and not self.is_embedded:
            variables["PGPASSFILE"] = str(self.passfile)
        return variables

    def role_password(self, role: str) -> str | None:
        """The role's own password, derived so that every machine with the administrator's arrives at the same."""
        if not self.admin_password:
            return None
        return hmac.new(self.admin_password.encode(), f"truebar role {role}".encode(), hashlib.sha256).hexdigest()

    def uri(self, role: str) -> str:
        """The same connection as a URI, which is what ADBC takes."""
        values = {**self.parameters, **self._role_login(role)}
        return "postgresql:///?" + "&".join(f"{key}={quote(str(value), safe='')}" for key, value in values.items())

    def _role_login(self, role: str) -> dict[str, str]:
        if role not in ROLES:
            raise Stop(f"unknown role {role!r}: one of {', '.join(ROLES)}")
        login = {"user": role}
        if self.passfile.exists() and not self.is_embedded:
            login["passfile"] = str(self.passfile)
        return login


def endpoint(settings: Settings | None = None) -> Endpoint:
    """Resolve the database from settings. Raises Stop when it is the embedded server and that is down."""
    settings = settings or load()
    passfile = settings.state_dir / "pgpass"
    if settings.database_url:
        parameters = {key: str(value) for key, value in _parse(settings.database_url.get_secret_value()).items()}
        parameters.setdefault("dbname", settings.pgdatabase)
        user, password = parameters.pop("user", None), parameters.pop("password", None)
        return Endpoint(parameters, False, passfile, user or settings.pguser, password or _password(settings))
    if not uses_embedded(settings):
        parameters = {"host": str(settings.pghost), "port": str(settings.pgport), "dbname": settings.pgdatabase}
        if os.environ.get("PGSSLMODE"):
            parameters["sslmode"] = os.environ["PGSSLMODE"]
        return Endpoint(parameters, False, passfile, settings.pguser, _password(settings))
    socket = embedded.socket_dir(settings.state_dir)
    if not socket:
        raise Unreachable("the embedded PostgreSQL is not running: start it with `python -m warehouse up`")
    parameters = {"host": socket, "port": "5432", "dbname": "truebar"}
    return Endpoint(parameters, True, passfile, embedded.SUPERUSER, None)


def uses_embedded(settings: Settings) -> bool:
    """True when no other server was named."""
    return not settings.database_url and (not settings.pghost or embedded.is_ours(settings.state_dir, settings.pghost))


def connect(role: str, *, autocommit: bool = False) -> psycopg.Connection:
    """Log in as a role (one of ROLES). Sessions are UTC. Raises Unreachable when the server cannot be reached."""
    where = endpoint()
    return open_connection(where, where.conninfo(role), autocommit=autocommit)


def open_connection(where: Endpoint, conninfo: str, *, autocommit: bool = False) -> psycopg.Connection:
    """Connect with libpq's own words turned into one sentence. Raises Unreachable, or Stop for an old server."""
    try:
        connection = psycopg.connect(
            conninfo, autocommit=autocommit, connect_timeout=10, options="-c timezone=UTC", application_name="truebar"
        )
    except psycopg.OperationalError as error:
        reason = str(error).strip().splitlines()[-1]
        raise Unreachable(f"cannot connect to PostgreSQL at {where.place}: {reason}") from None
    major = connection.info.server_version // 10000
    if major < MINIMUM_VERSION:
        connection.close()
        raise Stop(f"PostgreSQL at {where.place} is version {major}: truebar needs {MINIMUM_VERSION} or newer")
    return connection


def arrow(role: str, sql: str, parameters: tuple = ()) -> pyarrow.Table:
    """Run a query and return its result as columns. Placeholders are `$1`, `$2`, …; times are UTC."""
    where = endpoint()
    try:
        connection = dbapi.connect(where.uri(role))
    except dbapi.Error as error:
        raise Stop(f"cannot connect to PostgreSQL at {where.place}: {str(error).strip().splitlines()[-1]}") from None
    with connection, connection.cursor() as cursor:
        cursor.execute(sql, parameters or None)
        return cursor.fetch_arrow_table()


def _parse(url: str) -> dict[str, object]:
    try:
        return conninfo_to_dict(url)
    except psycopg.ProgrammingError:
        raise Stop("DATABASE_URL is not a PostgreSQL URL: postgresql://user:password@host:5432/database") from None


def _password(settings: Settings) -> str | None:
    return settings.pgpassword.get_secret_value() if settings.pgpassword else None
