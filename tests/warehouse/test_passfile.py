"""A password file has a line for every name under which one of our libpqs looks for a host."""

import re
import subprocess

import psycopg
import psycopg2
import pytest
from adbc_driver_manager import dbapi
from adbc_driver_postgresql import dbapi as adbc

from warehouse import embedded
from warehouse.passfile import _DEFAULT_FOLDERS, _addresses

# nobody listens there
_NO_PORT = "1"


def _said_by(client: str) -> str:
    """What a client says that finds no server and was told of no host."""
    if client == "psql":
        command = [str(embedded.BIN_DIR / "psql"), "--no-psqlrc", "--port", _NO_PORT]
        return subprocess.run(command, capture_output=True, text=True, check=False).stderr
    connect = {"psycopg": psycopg.connect, "psycopg2": psycopg2.connect, "adbc": adbc.connect}[client]
    with pytest.raises((psycopg.OperationalError, psycopg2.OperationalError, dbapi.Error)) as caught:
        connect(f"postgresql:///db?port={_NO_PORT}")
    return str(caught.value)


@pytest.mark.parametrize("client", ["psycopg", "psycopg2", "adbc", "psql"])
def test_the_default_folder_of_each_libpq_is_known(client: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PGHOST", "PGHOSTADDR", "PGSERVICE"):
        monkeypatch.delenv(name, raising=False)
    folder = re.search(r'socket "(.+)/\.s\.PGSQL', _said_by(client))
    assert folder is not None
    assert folder[1] in _DEFAULT_FOLDERS


@pytest.mark.parametrize(
    ("parameters", "addresses"),
    [
        ({}, [("*", "*")]),
        ({"host": "a", "port": "5433"}, [("a", "5433")]),
        ({"host": "a,b", "port": "5433"}, [("a", "5433"), ("b", "5433")]),
        ({"host": "a,b", "port": "1,2"}, [("a", "1"), ("b", "2")]),
        ({"host": "a,b", "port": "1,"}, [("a", "1"), ("b", "*")]),
        ({"host": "a,a", "port": "1,1"}, [("a", "1")]),
        ({"host": "", "port": "1"}, [("localhost", "1")]),
        ({"host": "a,", "port": "1", "hostaddr": ",192.0.2.7"}, [("a", "1"), ("192.0.2.7", "1")]),
        ({"host": "/var/run/postgresql", "port": "1"}, [("/var/run/postgresql", "1"), ("localhost", "1")]),
        ({"host": "/srv/sockets", "port": "1"}, [("/srv/sockets", "1")]),
    ],
)
def test_hosts_are_those_that_libpq_looks_for(parameters: dict[str, str], addresses: list[tuple[str, str]]) -> None:
    assert _addresses(parameters) == addresses
