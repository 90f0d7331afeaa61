"""What a database refuses while it works is one sentence with the next step; faults of the code stay as they are."""

from pathlib import Path

import psycopg
import pytest

from tests import servers
from warehouse import homes
from warehouse.connection import _not_connected, arrow, connect, endpoint, open_connection
from warehouse.errors import Stop, Unreachable
from warehouse.refusals import in_words

pytestmark = pytest.mark.database


@pytest.mark.parametrize(
    ("settings", "statement", "words", "status"),
    [
        ("set statement_timeout = '20ms'", "select pg_sleep(60)", "lift statement_timeout", 2),
        (
            "set default_transaction_read_only = on",
            "insert into raw.request_budgets values ('x', now())",
            "accepts no writing",
            2,
        ),
        ("select 1", "select pg_terminate_backend(pg_backend_pid())", "was shut down", 75),
        (
            "select 1",
            "do $$ begin raise exception 'deadlock detected' using errcode = '40P01'; end $$",
            "waited for each other",
            75,
        ),
    ],
)
def test_a_refusal_is_one_sentence(warehouse_db: Path, settings: str, statement: str, words: str, status: int) -> None:
    """A command that ends by it says with its exit status whether to start it again."""
    connection = connect("loader", autocommit=True)
    connection.execute(settings)
    with pytest.raises(Stop, match=words) as caught, in_words():
        connection.execute(statement)
    assert "\n" not in str(caught.value)
    assert caught.value.exit_status == status
    connection.close()


def test_a_connection_that_is_cut_while_it_is_made_is_a_server_away(
    warehouse_db: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was the driver's own error, which ends a session that waits for its database."""
    moved = homes.has_moved

    def cut(connection: psycopg.Connection) -> bool:
        with servers.as_superuser() as superuser:
            superuser.execute("select pg_terminate_backend(%s, 10000)", (connection.info.backend_pid,))
        return moved(connection)

    monkeypatch.setattr(homes, "has_moved", cut)
    with pytest.raises(Unreachable, match=r"^cannot connect to PostgreSQL at .*terminating connection"):
        connect("executor")


def test_what_is_read_as_columns_is_refused_in_the_same_words(warehouse_db: Path) -> None:
    """ADBC has errors of its own."""
    with pytest.raises(Unreachable, match="was shut down: start it") as ended, in_words():
        arrow("analyst", "select pg_terminate_backend(pg_backend_pid())")
    assert "\n" not in str(ended.value)
    with pytest.raises(psycopg.errors.DivisionByZero), in_words():
        arrow("analyst", "select 1 / 0")


def test_too_many_connections_may_pass(warehouse_db: Path) -> None:
    where = endpoint()
    with open_connection(where, where.conninfo(), autocommit=True) as administrator:
        try:
            administrator.execute("alter role analyst connection limit 0")
            with pytest.raises(
                Unreachable, match=r'cannot connect to .*too many connections for role "analyst"'
            ) as said:
                arrow("analyst", "select 1")
        finally:
            administrator.execute("alter role analyst connection limit -1")
    assert "\n" not in str(said.value)


_AT = 'connection to server at "db.example" (192.0.2.7), port 5432 failed: '
_WITHOUT_TLS = 'FATAL:  no pg_hba.conf entry for host "198.51.100.4", user "loader", database "db", no encryption'


@pytest.mark.parametrize(
    ("said", "status", "words"),
    [
        # libpq tries without TLS what was refused with it, asyncpg#1306
        (f'FATAL:  password authentication failed for user "loader"\n{_AT}{_WITHOUT_TLS}', 2, "rotate"),
        (f"FATAL:  sorry, too many clients already\n{_AT}{_WITHOUT_TLS}", 75, "too many clients"),
        (_WITHOUT_TLS, 2, "let it in there"),
        (f'FATAL:  too many connections for role "loader"\n{_AT}{_WITHOUT_TLS}', 75, "too many connections"),
        (f"FATAL:  the database system is starting up\n{_AT}{_WITHOUT_TLS}", 75, "starting up"),
        (f"FATAL:  the database system is shutting down\n{_AT}{_WITHOUT_TLS}", 75, "shutting down"),
        # by whatever method
        *(
            (f'FATAL:  {method} authentication failed for user "loader"', 2, "scram-sha-256 in pg_hba.conf")
            for method in ("PAM", "LDAP", "certificate", "GSSAPI", "RADIUS", "OAuth bearer", "Peer", "Ident")
        ),
        ('FATAL:  MD5 authentication failed for user "loader"', 2, "rotate"),
        ("FATAL:  password has expired", 2, "valid until"),
        (
            'FATAL:  permission denied for database "db"\nDETAIL:  User does not have CONNECT privilege.',
            2,
            "grant connect on database",
        ),
        # a pooler's own wait, pgbouncer#586
        (
            "FATAL:  server login has been failing, cached error: password authentication failed for user"
            ' "loader" (server_login_retry)',
            75,
            "server_login_retry",
        ),
        # pgbouncer#988, supabase/cli#4277, and Amazon's own
        ("FATAL:  no such user: loader", 2, "the pooler does not know this user"),
        ("FATAL:  no such database: db", 2, "make it, or name another one"),
        ("FATAL:  Tenant or user not found", 2, "the pooler does not know this user"),
        (
            "FATAL:  This RDS proxy has no credentials for the role loader. Check the credentials for this role and try"
            " again.",
            2,
            "the pooler does not know this user",
        ),
        ("FATAL:  (ENOTFOUND) tenant/user loader.abc not found", 2, "the pooler does not know this user"),
        # pgbouncer#482, neon#6291
        ("FATAL:  auth failed", 2, "the pooler does not know this user"),
        ("FATAL:  unsupported startup parameter: options", 2, "ignore_startup_parameters = options"),
        ("FATAL:  unsupported startup parameter in options: jit", 2, "ignore_startup_parameters = options"),
        # pgbouncer#293, supabase#21166
        (f"FATAL:  no more connections allowed (max_client_conn)\n{_AT}{_WITHOUT_TLS}", 75, "max_client_conn"),
        (f"FATAL:  Max client connections reached\n{_AT}{_WITHOUT_TLS}", 75, "Max client connections"),
    ],
)
def test_a_login_is_refused_where_only_a_person_can_mend_it(
    warehouse_db: Path, said: str, status: int, words: str
) -> None:
    url = "postgresql://owner@db.example/db"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DATABASE_URL", url)
        found = _not_connected(endpoint(), f"{_AT}{said}", "loader")
    assert found.exit_status == status
    assert words in str(found)
    assert "\n" not in str(found)


@pytest.mark.skipif(servers.ASKED_FOR is not None, reason="is about the embedded PostgreSQL")
@pytest.mark.parametrize(
    "said",
    [_WITHOUT_TLS, 'FATAL:  database "truebar" does not exist', 'FATAL:  role "loader" is not permitted to log in'],
)
def test_the_embedded_server_has_no_remedy_of_others(warehouse_db: Path, said: str) -> None:
    where = endpoint()
    assert where.is_embedded
    sentence = str(_not_connected(where, f"{_AT}{said}", "loader"))
    assert "python -m warehouse up" in sentence
    assert "DATABASE_URL" not in sentence
    assert "pgpass" not in sentence


def test_who_holds_a_lock_is_named(warehouse_db: Path) -> None:
    with connect("transformer") as builder, connect("analyst") as notebook:
        builder.execute("create table canonical.read_by_somebody (x integer)")
        builder.commit()
        notebook.execute("select * from canonical.read_by_somebody")
        builder.execute("set lock_timeout = '50ms'")
        with pytest.raises(Stop, match=f"process {notebook.info.backend_pid} of analyst"), in_words():
            builder.execute("drop table canonical.read_by_somebody")
        builder.rollback()
        notebook.rollback()
        builder.execute("drop table canonical.read_by_somebody")


def test_a_fault_of_the_code_stays_what_it_is(warehouse_db: Path) -> None:
    with connect("analyst") as connection, pytest.raises(psycopg.errors.UndefinedColumn), in_words():
        connection.execute("select nothing from raw.coverage")
