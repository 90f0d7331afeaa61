"""What a database refuses while it works, as one sentence: a limit, a full disk, a read-only server, a lock of others'.

Connecting is put into words where it happens. This is for all that comes after it; what points to a fault of the code
stays the exception that it is.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg

from warehouse.connection import connect, endpoint
from warehouse.errors import Stop, Unreachable

# SQLSTATE, or its class of two characters: what to do
_REMEDIES = {
    "25006": "it accepts no writing: point DATABASE_URL to the primary server, or lift default_transaction_read_only",
    "57014": "somebody or a limit ended the statement: lift statement_timeout for this role, or try again",
    "55P03": "a lock was waited for in vain",
    "40P01": "it and another one waited for each other: run the same command again",
    "53100": "its disk is full: free some, and run the same command again",
    "53200": "it is out of memory: lower work_mem, or give it more",
    "57P0": "it was shut down: start it, and run the same command again",
    "08": "the connection was lost: run the same command again",
}

# the server is away, and may be back soon, or somebody was in the way
_PASSING = ("57P0", "08", "40P01")

# raised by functions and rules of ours, whose words say what is wrong
_OWN_WORDS = ("P0001", "23514")

_HOLDERS = """
select distinct activity.pid, activity.usename
from pg_locks as locks
inner join pg_stat_activity as activity on locks.pid = activity.pid
where
    locks.locktype = 'relation'
    and locks.granted
    and locks.database = (select oid from pg_database where datname = current_database())
    and locks.pid <> pg_backend_pid()
order by activity.pid
"""


@contextmanager
def in_words() -> Iterator[None]:
    """Turn what a person can mend into Stop, and a server that went away into Unreachable."""
    try:
        yield
    except psycopg.Error as error:
        sentence = refusal(error)
        if sentence is None:
            raise
        raise (Unreachable if _state(error).startswith(_PASSING) else Stop)(sentence) from None


def _state(error: psycopg.Error) -> str:
    """Its SQLSTATE; a connection that broke has none."""
    return error.sqlstate or ("08" if isinstance(error, psycopg.OperationalError) else "")


def refusal(error: psycopg.Error) -> str | None:
    """One sentence with the database's own words and the remedy, None for a fault of the code."""
    state = _state(error)
    said = str(error).strip().splitlines()[0] if str(error).strip() else "no reason given"
    if state in _OWN_WORDS:
        return f"the database refused: {said}"
    remedy = next((words for prefix, words in _REMEDIES.items() if state.startswith(prefix)), None)
    if remedy is None:
        return None
    if state == "55P03":
        remedy = f"{remedy}{lock_holders()}"
    return f"PostgreSQL at {endpoint().place} refused: {said}; {remedy}"


def lock_holders() -> str:
    """Who has open transactions on relations of this database, as the end of a sentence; empty if nobody has."""
    with connect("analyst", autocommit=True) as connection:
        holders = connection.execute(_HOLDERS).fetchall()
    if not holders:
        return ""
    named = ", ".join(f"process {pid} of {user}" for pid, user in holders[:5])
    return (
        f"; open transactions have {named}: end them (`select pg_terminate_backend({holders[0][0]})`), then try again"
    )
