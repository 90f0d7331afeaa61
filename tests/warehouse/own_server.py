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
from warehouse.server_user import server_user

BINARIES = {15: Path("/usr/lib/postgresql/15/bin"), 18: embedded.BIN_DIR}


@dataclass(frozen=True)
class Server:
    """A PostgreSQL with passwords, on a free port of loopback."""

    major: int
    port: int
    super_password: str

    def execute(self, *statements: str, dbname: str = "postgres") -> None:
        with psycopg.connect(
            host="127.0.0.1",
            port=self.port,
            user="postgres",
            password=self.super_password,
            dbname=dbname,
            autocommit=True,
        ) as connection:
            for statement in statements:
                connection.execute(statement)

    def owned_by(self, user: str, rights: str = "createrole") -> str:
        """A database with an owner who has some rights; its URL."""
        self.execute(f"create role {user} login {rights} password '{user}'", f"create database {user}_db owner {user}")
        return f"postgresql://{user}:{user}@127.0.0.1:{self.port}/{user}_db"


@contextmanager
def own_server(major: int) -> Iterator[Server]:
    """Skips with a sentence where PostgreSQL 15 is not installed, but not in continuous integration."""
    binaries = BINARIES[major]
    if not binaries.exists() and not os.environ.get("CI"):
        pytest.skip(f"PostgreSQL {major} is not in {binaries} (Debian: apt-get install postgresql-{major})")
    folder = Path(tempfile.mkdtemp(prefix=f"truebar-pg{major}-", dir="/var/tmp"))
    user = server_user(folder / "data", binaries)
    password = folder / "password"
    password.write_text("super")
    user.own(password)
    user.own(folder)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    made = ["-D", folder / "data", "--auth=scram-sha-256", f"--pwfile={password}", "-U", "postgres", "--locale=C.UTF-8"]
    subprocess.run([*user.command_prefix, binaries / "initdb", *made], check=True, capture_output=True, cwd="/")
    options = [
        f"--port={port}",
        f"--unix_socket_directories={folder}",
        "--listen_addresses=127.0.0.1",
        "--fsync=off",
        # what somebody may have set for all databases of a server
        "--extra_float_digits=0",
        "--datestyle=German",
    ]
    with (folder / "log").open("w") as log:
        command = [*user.command_prefix, binaries / "postgres", "-D", folder / "data", *options]
        process = subprocess.Popen(command, stderr=log, cwd="/")
    try:
        found = Server(major, port, "super")
        for _ in range(600):
            try:
                found.execute("select 1")
                break
            except psycopg.OperationalError:
                assert process.poll() is None, (folder / "log").read_text()
        yield found
    finally:
        process.terminate()
        process.wait(timeout=60)
        shutil.rmtree(folder)
