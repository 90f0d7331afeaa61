"""Somebody's own server, with passwords and settings of theirs: Debian's PostgreSQL 15, or the embedded one's 18."""

import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest

from warehouse import embedded
from warehouse.server_user import ServerUser, server_user

BINARIES = {15: Path("/usr/lib/postgresql/15/bin"), 18: embedded.BIN_DIR}

# what somebody may have set for all databases of a server
_THEIRS = ("--extra_float_digits=0", "--datestyle=German")


@dataclass(frozen=True)
class Server:
    """A PostgreSQL with passwords, at an address of loopback."""

    major: int
    port: int
    super_password: str
    host: str = "127.0.0.1"
    # where a socket is too; none where this is empty
    socket_folder: str = ""

    def execute(self, *statements: str, dbname: str = "postgres") -> None:
        with psycopg.connect(
            host=self.host,
            port=self.port,
            user="postgres",
            password=self.super_password,
            dbname=dbname,
            autocommit=True,
        ) as connection:
            for statement in statements:
                connection.execute(statement)

    def owned_by(self, user: str, rights: str = "createrole", dbname: str | None = None) -> str:
        """A database with an owner who has some rights; its URL."""
        dbname = dbname or f"{user}_db"
        self.execute(f"create role {user} login {rights} password '{user}'", f"create database {dbname} owner {user}")
        return self.url(user, dbname)

    def url(self, user: str, dbname: str) -> str:
        return f"postgresql://{user}:{user}@{self.host}:{self.port}/{dbname}"


@contextmanager
def own_server(major: int, socket_folder: str = "") -> Iterator[Server]:
    """Skips with a sentence where PostgreSQL 15 is not installed, but not in continuous integration."""
    binaries = BINARIES[major]
    if not binaries.exists() and not os.environ.get("CI"):
        pytest.skip(f"PostgreSQL {major} is not in {binaries} (Debian: apt-get install postgresql-{major})")
    folder = Path(tempfile.mkdtemp(prefix=f"truebar-pg{major}-", dir="/var/tmp"))
    server_user(folder / "data", binaries).own(folder)
    make(folder / "data", binaries)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        server = Server(major, free.getsockname()[1], "super", socket_folder=socket_folder)
    process = start(server, folder / "data", binaries)
    try:
        yield server
    finally:
        process.terminate()
        process.wait(timeout=60)
        shutil.rmtree(folder)


def make(data: Path, binaries: Path) -> None:
    """A data folder in which everybody needs a password; the superuser's is `super`."""
    user = server_user(data, binaries)
    password = data.with_name(f"{data.name}.password")
    password.write_text("super")
    user.own(password)
    # made by us, because its user may not write beside it
    data.mkdir(mode=0o700)
    user.own(data)
    made = ["-D", data, "--auth=scram-sha-256", f"--pwfile={password}", "-U", "postgres", "--locale=C.UTF-8"]
    subprocess.run([*user.command_prefix, binaries / "initdb", *made], check=True, capture_output=True, cwd="/")
    password.unlink()
    with (data / "pg_hba.conf").open("a") as rules:
        rules.write("host all all 127.0.0.0/8 scram-sha-256\n")


def start(server: Server, data: Path, binaries: Path) -> subprocess.Popen[bytes]:
    """Its process, which takes connections."""
    user: ServerUser = server_user(data, binaries)
    options = [f"--port={server.port}", f"--listen_addresses={server.host}", *_THEIRS]
    options.append(f"--unix_socket_directories={server.socket_folder}")
    # these warehouses need not outlive a loss of power; what a server leaves when it is killed stays whole
    options += ["--fsync=off", "--full_page_writes=off"]
    log = data.with_name(f"{data.name}.log")
    with log.open("a") as file:
        command = [*user.command_prefix, binaries / "postgres", "-D", data, *options]
        process = subprocess.Popen(command, stdout=file, stderr=file, cwd="/")
    for _ in range(600):
        try:
            server.execute("select 1")
            break
        except psycopg.OperationalError:
            assert process.poll() is None, log.read_text()
    return process
