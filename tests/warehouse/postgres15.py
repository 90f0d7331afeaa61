"""Debian's PostgreSQL 15 beside the embedded 18: somebody's own server, with passwords and settings of theirs."""

import os
import pwd
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest

BIN = Path("/usr/lib/postgresql/15/bin")


@dataclass(frozen=True)
class Server:
    """A PostgreSQL 15 with passwords, on a free port of loopback."""

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
def postgres15() -> Iterator[Server]:
    """Skips with a sentence where Debian's PostgreSQL 15 is not installed, but not in continuous integration."""
    if not BIN.exists() and not os.environ.get("CI"):
        pytest.skip(f"PostgreSQL 15 is not in {BIN} (Debian: apt-get install postgresql-15)")
    if os.geteuid() != 0 and not os.environ.get("CI"):
        pytest.skip("starting a second PostgreSQL as another user needs root")
    owner = pwd.getpwnam("postgres")
    folder = Path("/var/tmp") / f"truebar-pg15-{os.getpid()}"
    subprocess.run(["install", "-d", "-o", "postgres", "-m", "700", str(folder)], check=True)
    password = folder / "password"
    password.write_text("super")
    os.chown(password, owner.pw_uid, owner.pw_gid)
    as_owner = {"user": owner.pw_uid, "group": owner.pw_gid, "cwd": "/"}
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    subprocess.run(
        [BIN / "initdb", "-D", folder / "data", "--auth=scram-sha-256", f"--pwfile={password}", "-U", "postgres"],
        check=True,
        capture_output=True,
        **as_owner,
    )
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
        process = subprocess.Popen([BIN / "postgres", "-D", folder / "data", *options], stderr=log, **as_owner)
    try:
        found = Server(port, "super")
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
        subprocess.run(["rm", "-rf", str(folder)], check=True)
