"""What every session of the product fixes, because stored values or a person's patience hang on it.

A server, a database or a user may have settings of its own: `extra_float_digits = 0` would cut the last digits off
every float that is read, a German date style would turn days and months round. The settings below are given with each
connection of ours (psycopg, ADBC, dbt and psql), and `migrate` gives them to the roles, for every other client.
"""

ROLES = ("loader", "transformer", "trainer", "executor", "analyst", "gate", "operator")

# roles that change nothing
READERS = ("analyst",)

_VALUES = {
    "timezone": "UTC",
    "datestyle": "ISO,YMD",
    "intervalstyle": "postgres",
    "extra_float_digits": "1",
    "bytea_output": "hex",
    "client_encoding": "UTF8",
    "standard_conforming_strings": "on",
    "search_path": "pg_catalog",
    "default_transaction_isolation": "read committed",
    "default_transaction_deferrable": "off",
}

# compiling a query takes longer than the short live reads run
_PACE = {"jit": "off"}

# whoever waits longer than this waits for somebody who has forgotten an open transaction
_LIMITS = {"lock_timeout": "5min", "statement_timeout": "0", "idle_in_transaction_session_timeout": "0"}
_READERS_LIMITS = {"statement_timeout": "1h", "idle_in_transaction_session_timeout": "15min"}


# What readers and those who only act for a moment may take of a server, so that there is always room for execution: a
# hundred connections are PostgreSQL's default. -1 is no limit.
_CONNECTIONS = {"analyst": 20, "gate": 10, "operator": 10}

# a role cannot lift this one itself, and only a superuser can set it
_SUPERUSERS_SETTINGS = {"analyst": {"temp_file_limit": "5GB"}}


def connections(role: str) -> int:
    """How many connections a role may have at once; -1 for as many as the server has."""
    return _CONNECTIONS.get(role, -1)


def superusers_settings(role: str) -> dict[str, str]:
    """Settings of a role that its sessions start with and cannot change."""
    return _SUPERUSERS_SETTINGS.get(role, {})


def settings(role: str | None, *, read_only: bool = False) -> dict[str, str]:
    """The settings of a role's sessions, one of ROLES, or of the administrator's when role is None."""
    found = {**_VALUES, **_PACE, **_LIMITS, "default_transaction_read_only": "off"}
    if role in READERS:
        found |= {**_READERS_LIMITS, "default_transaction_read_only": "on"}
    if read_only:
        found["default_transaction_read_only"] = "on"
    return found


def options(role: str | None, *, read_only: bool = False) -> str:
    """The same as libpq's `options`, in which a space inside a value is escaped."""
    found = settings(role, read_only=read_only)
    return " ".join(f"-c {name}={value.replace(' ', chr(92) + ' ')}" for name, value in found.items())
