"""A database of one's own: PostgreSQL 15 or 18, no superuser, strangers' roles, two of ours on one server."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from tests import forked
from tests.machine import ROOT
from tests.own_server import BINARIES, Server, own_server
from warehouse.server_user import server_user

pytestmark = pytest.mark.long


@pytest.fixture(scope="module", params=[15, pytest.param(18, marks=pytest.mark.whole)])
def server(request: pytest.FixtureRequest) -> Iterator[Server]:
    # the folder of sockets that PostgreSQL's own build looks into by default
    with own_server(request.param, "/tmp") as found:
        yield found


def warehouse(
    state_dir: Path, url: str, *command: str, prefix: str = "", **environment: str
) -> subprocess.CompletedProcess[str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("PG", "DATABASE", "TRUEBAR"))}
    theirs = {"TRUEBAR_STATE_DIR": str(state_dir), "DATABASE_URL": url, "TRUEBAR_ROLE_PREFIX": prefix}
    return forked.run("warehouse", *command, environment={**clean, **theirs, **environment})


def refused(done: subprocess.CompletedProcess[str], status: int = 2) -> str:
    assert done.returncode == status
    assert done.stderr.count("\n") == 1, done.stderr
    return done.stderr


@pytest.fixture(scope="module")
def first(server: Server, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A truebar whose administrator is no superuser: its state folder and URL."""
    state_dir, url = tmp_path_factory.mktemp("first"), server.owned_by("first")
    done = warehouse(state_dir, url, "up")
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    return state_dir, url


def test_an_owner_with_createrole_suffices(server: Server, first: tuple[Path, str]) -> None:
    state_dir, url = first
    assert f"PostgreSQL {server.major}" in warehouse(state_dir, url, "status").stdout
    assert (state_dir / "pgpass").stat().st_mode & 0o777 == 0o600


def test_a_password_in_the_environment_is_the_administrators_alone(server: Server, tmp_path: Path) -> None:
    """As a container gets it: libpq would take it for every role, and no role could log in."""
    where = server.owned_by("contained")
    theirs = {"PGHOST": "127.0.0.1", "PGPORT": str(server.port), "PGDATABASE": "contained_db", "PGUSER": "contained"}
    assert where.startswith("postgresql://contained:contained@")
    for command in (("up",), ("status",), ("psql", "-Atc", "select 1")):
        done = warehouse(tmp_path, "", *command, prefix="contained_", PGPASSWORD="contained", **theirs)
        assert (done.returncode, done.stderr) == (0, ""), command
    read = "from warehouse.connection import arrow; print(arrow('analyst', 'select 1 as one').num_rows)"
    clean = {name: text for name, text in os.environ.items() if not name.startswith(("PG", "DATABASE", "TRUEBAR"))}
    environment = clean | theirs | {"PGPASSWORD": "contained", "TRUEBAR_STATE_DIR": str(tmp_path)}
    environment["TRUEBAR_ROLE_PREFIX"] = "contained_"
    done = subprocess.run(
        [sys.executable, "-c", read], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (0, "1\n"), done.stderr


_READ = (
    "from warehouse.connection import arrow, connect; connect('loader'); print(arrow('analyst', 'select 1').num_rows)"
)


@pytest.mark.whole
@pytest.mark.parametrize("kind", ["hosts", "folder"])
def test_roles_log_in_wherever_libpq_looks_for_their_passwords(server: Server, tmp_path: Path, kind: str) -> None:
    """Of several hosts in a line each, and of a default folder of sockets under `localhost` (patroni#3134)."""
    user = f"at_{kind}"
    url = server.owned_by(user)
    if kind == "hosts":
        # nobody answers at the first
        theirs = {"DATABASE_URL": url.replace("127.0.0.1:", "127.0.0.1:1,127.0.0.1:")}
    else:
        theirs = {"PGHOST": "/tmp", "PGPORT": str(server.port), "PGDATABASE": f"{user}_db"}
        theirs |= {"PGUSER": user, "PGPASSWORD": user}
    for command in (("up",), ("psql", "-Atc", "select 1"), ("rotate",), ("psql", "-Atc", "select 1")):
        done = warehouse(tmp_path, "", *command, prefix=f"{user}_", **theirs)
        assert (done.returncode, done.stderr) == (0, ""), command
    clean = {name: text for name, text in os.environ.items() if not name.startswith(("PG", "DATABASE", "TRUEBAR"))}
    environment = clean | theirs | {"TRUEBAR_STATE_DIR": str(tmp_path), "TRUEBAR_ROLE_PREFIX": f"{user}_"}
    done = subprocess.run(
        [sys.executable, "-c", _READ], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (0, "1\n"), done.stderr


@pytest.mark.whole
def test_dbt_and_psql_check_the_certificate_that_the_url_names(tmp_path: Path) -> None:
    """The embedded PostgreSQL is built without TLS; dbt and psql know of the URL what the environment tells them."""
    with own_server(15) as server:
        authority = tls_on(server, tmp_path)
        where = f"{server.owned_by('checked')}?sslmode=verify-full&sslrootcert="
        assert warehouse(tmp_path, where + str(authority), "up").returncode == 0
        asked = ("psql", "-Atc", "select ssl from pg_stat_ssl where pid = pg_backend_pid()")
        assert warehouse(tmp_path, where + str(authority), *asked).stdout == "t\n"
        assert "certificate" in warehouse(tmp_path, where + str(tmp_path / "other.crt"), *asked).stderr
        said = warehouse(tmp_path, where + str(authority), "env").stdout
        driver = "import psycopg2; print(psycopg2.connect('dbname=checked_db').info.ssl_in_use)"
        found = subprocess.run(
            ["bash", "-c", f'eval "{said}"; "{sys.executable}" -c "{driver}"'],
            env={name: text for name, text in os.environ.items() if not name.startswith(("PG", "DATABASE"))},
            capture_output=True,
            text=True,
            check=False,
        )
        assert found.stdout == "True\n", found.stderr


def tls_on(server: Server, folder: Path) -> Path:
    """Let a server take TLS connections with a certificate that signs itself; returns the file of the certificate."""
    with psycopg.connect(server.url("postgres", "postgres").replace(":postgres@", ":super@")) as connection:
        ((data,),) = connection.execute("select current_setting('data_directory')").fetchall()
    key, certificate = Path(data) / "server.key", Path(data) / "server.crt"
    subject = ("-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1")
    made = ("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", *subject, "-keyout", key, "-out", certificate)
    subprocess.run(made, check=True, capture_output=True)
    key.chmod(0o600)
    user = server_user(Path(data), BINARIES[server.major])
    user.own(key)
    user.own(certificate)
    server.execute("alter system set ssl = on", "select pg_reload_conf()")
    kept = folder / "authority.crt"
    kept.write_bytes(certificate.read_bytes())
    return kept


def test_what_is_up_lets_roles_in(server: Server, tmp_path: Path) -> None:
    """A line for each role is not enough: the database may have another password by now."""
    url = server.owned_by("changed")
    assert warehouse(tmp_path, url, "up", prefix="changed_").returncode == 0
    server.execute("alter role changed_gate password 'another'")
    assert "rotate" in refused(warehouse(tmp_path, url, "up", prefix="changed_"))


def test_sessions_fix_what_values_hang_on(first: tuple[Path, str]) -> None:
    state_dir, url = first
    shown = warehouse(state_dir, url, "psql", "-At", "-c", "select 0.1::float8 + 0.2, date '2026-03-01', now() is null")
    assert shown.stdout.splitlines() == ["0.30000000000000004|2026-03-01|f"]


@pytest.mark.whole
def test_a_second_truebar_is_told_to_take_a_prefix_and_lives_beside_it(
    server: Server, first: tuple[Path, str], tmp_path: Path
) -> None:
    url = server.owned_by("second")
    sentence = refused(warehouse(tmp_path, url, "up"))
    assert "'loader'" in sentence
    assert "'first_db'" in sentence
    assert "TRUEBAR_ROLE_PREFIX" in sentence
    assert warehouse(tmp_path, url, "up", prefix="second_").returncode == 0
    shown = warehouse(tmp_path, url, "psql", "-At", "-c", "select current_user", prefix="second_")
    assert shown.stdout.strip() == "second_analyst"
    assert warehouse(*first, "status").returncode == 0


def test_a_strangers_role_is_left_alone(server: Server, tmp_path: Path) -> None:
    server.execute("create role theirs_analyst login password 'theirs'")
    url = server.owned_by("third")
    assert "'theirs_analyst'" in refused(warehouse(tmp_path, url, "up", prefix="theirs_"))
    dsn = f"host=127.0.0.1 port={server.port} dbname=third_db user=theirs_analyst password=theirs"
    psycopg.connect(dsn).close()


@pytest.mark.whole
def test_passwords_made_elsewhere(first: tuple[Path, str], tmp_path: Path) -> None:
    state_dir, url = first
    sentence = refused(warehouse(tmp_path, url, "up"))
    assert "rotate" in sentence
    assert warehouse(tmp_path, url, "rotate").returncode == 0
    assert warehouse(tmp_path, url, "status").returncode == 0
    # whoever has the older ones is locked out, until they rotate or copy the file
    assert "rotate" in refused(warehouse(state_dir, url, "status"))
    (state_dir / "pgpass").write_text((tmp_path / "pgpass").read_text())
    assert warehouse(state_dir, url, "status").returncode == 0


# ends itself as `kill -9` does, at a call of the system's that Python tells of
_ENDS = """
import os, signal, sys
step, name = sys.argv[1:3]
def end(event, arguments):
    if event == step and name in map(str, arguments):
        os.kill(os.getpid(), signal.SIGKILL)
sys.addaudithook(end)
from warehouse.__main__ import main
sys.exit(main(["rotate"]))
"""


_STEPS = [
    *(("open", "pgpass.lock"), ("open", "pgpass.new.part"), ("os.rename", "pgpass.new")),
    *(("os.rename", "pgpass"), ("os.remove", "pgpass.new"), ("held", "")),
]


def _kill_a_rotation(server: Server, state_dir: Path, user: str, step: str, name: str = "") -> None:
    """Of a database of `owned_by`, at a step; `held` is in its transaction."""
    clean = {one: text for one, text in os.environ.items() if not one.startswith(("PG", "DATABASE", "TRUEBAR"))}
    theirs = {"DATABASE_URL": server.url(user, f"{user}_db"), "TRUEBAR_STATE_DIR": str(state_dir)}
    theirs["TRUEBAR_ROLE_PREFIX"] = f"{user}_"
    command = [sys.executable, "-c", _ENDS, step, str(state_dir / name)]
    dsn = f"host=127.0.0.1 port={server.port} dbname={user}_db user={user} password={user}"
    with psycopg.connect(dsn) as other, subprocess.Popen(command, cwd=ROOT, env=clean | theirs) as rotating:
        if step == "held":
            # the last of the roles is changed by somebody else: the rotation waits in its transaction
            other.execute(f"alter role {user}_analyst connection limit 7")
            waits = "select from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'"
            while other.execute(waits).fetchone() is None:
                assert rotating.poll() is None
                time.sleep(0.05)
                other.execute("select pg_stat_clear_snapshot()")
            rotating.kill()
        assert rotating.wait() == -signal.SIGKILL
        other.rollback()


def _logs_in(server: Server, state_dir: Path, user: str) -> bool:
    url = server.url(user, f"{user}_db")
    return warehouse(state_dir, url, "psql", "-Atc", "select 1", prefix=f"{user}_").stdout == "1\n"


@pytest.mark.whole
@pytest.mark.parametrize(("step", "name"), _STEPS)
def test_whenever_a_rotation_is_killed_roles_log_in(server: Server, tmp_path: Path, step: str, name: str) -> None:
    user = f"killed_{step}_{name.removeprefix('pgpass')}".replace(".", "_").rstrip("_")
    url = server.owned_by(user)
    state_dir = tmp_path / "state"
    assert warehouse(state_dir, url, "up", prefix=f"{user}_").returncode == 0
    _kill_a_rotation(server, state_dir, user, step, name)
    assert _logs_in(server, state_dir, user)
    assert warehouse(state_dir, url, "rotate", prefix=f"{user}_").returncode == 0
    assert _logs_in(server, state_dir, user)
    assert not (state_dir / "pgpass.new").exists()


@pytest.mark.whole
@pytest.mark.parametrize("step", [("held", ""), ("os.rename", "pgpass")], ids=["before its commit", "after it"])
@pytest.mark.parametrize("then", ["psql", "rotate"])
def test_databases_of_one_state_folder_leave_each_others_passwords_alone(
    server: Server, tmp_path: Path, step: tuple[str, str], then: str
) -> None:
    """Of two, one rotates and is killed; whatever the other one does then, both log in. Resembles patroni#1511."""
    one, other = (f"{which}_{step[0].replace('.', '_')}_{then}" for which in ("one", "other"))
    for user in (one, other):
        assert warehouse(tmp_path, server.owned_by(user), "up", prefix=f"{user}_").returncode == 0
    _kill_a_rotation(server, tmp_path, one, *step)
    command = (then, *(("-Atc", "select 1") if then == "psql" else ()))
    assert warehouse(tmp_path, server.url(other, f"{other}_db"), *command, prefix=f"{other}_").returncode == 0
    assert _logs_in(server, tmp_path, one)
    assert _logs_in(server, tmp_path, other)


def test_a_rotation_that_fails_leaves_nothing_aside(server: Server, tmp_path: Path) -> None:
    url = server.owned_by("failing")
    assert warehouse(tmp_path, url, "up", prefix="failing_").returncode == 0
    before = (tmp_path / "pgpass").read_text()
    server.execute("alter role failing_operator rename to failing_gone")
    assert warehouse(tmp_path, url, "rotate", prefix="failing_").returncode != 0
    assert (tmp_path / "pgpass").read_text() == before
    assert not (tmp_path / "pgpass.new").exists()


def test_each_missing_right_is_named(server: Server, tmp_path: Path) -> None:
    assert 'alter role "plain" createrole' in refused(warehouse(tmp_path, server.owned_by("plain", ""), "up"))
    owner = server.owned_by("fifth")
    server.execute("alter database fifth_db owner to postgres")
    assert 'alter database "fifth_db" owner to "fifth"' in refused(warehouse(tmp_path, owner, "up"))


def test_a_database_of_somebody_elses_is_left_alone(server: Server, tmp_path: Path) -> None:
    url = server.owned_by("sixth")
    server.execute("create schema raw", dbname="sixth_db")
    assert "'raw'" in refused(warehouse(tmp_path, url, "up", prefix="sixth_"))


@pytest.mark.parametrize("password", ["p/ss", "p@ss"])
def test_a_password_that_a_url_cannot_take(tmp_path: Path, password: str) -> None:
    sentence = refused(warehouse(tmp_path, f"postgresql://user:{password}@localhost:1/db", "up"))
    assert "%40" in sentence
    assert "ss@" not in sentence


def test_a_refused_login_is_a_persons_to_mend(server: Server, tmp_path: Path) -> None:
    """Trying again every ten seconds, as for a server that is away, mends none of these."""
    url = server.owned_by("seventh")
    for wrong, remedy in (
        (url.replace(":seventh@", ":hunter2@"), "set DATABASE_URL, or PGUSER and PGPASSWORD"),
        (url.replace(":seventh@", "@"), "set DATABASE_URL, or PGUSER and PGPASSWORD"),
        (url.replace("seventh_db", "nowhere"), "name another one in DATABASE_URL or PGDATABASE"),
    ):
        sentence = refused(warehouse(tmp_path, wrong, "up", prefix="seventh_"))
        assert "cannot connect to PostgreSQL" in sentence
        assert remedy in sentence
        assert "hunter2" not in sentence
    server.execute("revoke connect on database seventh_db from public, seventh")
    assert "grant connect on database" in refused(warehouse(tmp_path, url, "up", prefix="seventh_"))
    server.execute("grant connect on database seventh_db to seventh")
    server.execute('alter role "seventh" nologin')
    assert "take another user" in refused(warehouse(tmp_path, url, "up", prefix="seventh_"))
    server.execute('alter role "seventh" login connection limit 0')
    # somebody else may leave
    refused(warehouse(tmp_path, url, "up", prefix="seventh_"), status=75)


def test_the_reason_is_shown_and_not_the_hint(tmp_path: Path) -> None:
    sentence = refused(warehouse(tmp_path, "postgresql://user:x@127.0.0.1:1/db", "up"), status=75)
    assert sentence.strip().endswith("Connection refused")
