"""A backup waits for dbt, whose rebuilds a dump would hold up, and for no session that does nothing."""

from pathlib import Path
from threading import Thread
from time import sleep

import psycopg
import pytest

from warehouse import backup as backing
from warehouse.backup import backup
from warehouse.connection import connect, endpoint

pytestmark = pytest.mark.long

WAITING = "waiting for dbt to end"


def _session_of_dbt() -> psycopg.Connection:
    """Between two statements, under the name that dbt gives to each of its sessions."""
    from dbt.adapters.postgres.connections import PostgresCredentials

    login = endpoint().conninfo("transformer")
    session = psycopg.connect(login, autocommit=True, application_name=PostgresCredentials.application_name)
    session.execute("select 1")
    return session


def _goes_on(line: str) -> None:
    assert line != WAITING


def test_a_session_that_was_left_open_is_no_build(warehouse_db: Path, tmp_path: Path) -> None:
    """As `truebar psql --role transformer` leaves it."""
    with connect("transformer", autocommit=True) as left:
        left.execute("select 1")
        backup(tmp_path, say=_goes_on)


def test_what_a_pooler_keeps_is_no_build(warehouse_db: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It has the name of who had it last, and the time of their last statement."""
    monkeypatch.setattr(backing, "_SECONDS_BETWEEN_STATEMENTS", 0)
    with _session_of_dbt():
        backup(tmp_path, say=_goes_on)


@pytest.mark.parametrize("kind", ["in a transaction", "between two statements"])
def test_a_build_is_waited_for(warehouse_db: Path, tmp_path: Path, kind: str) -> None:
    if kind == "in a transaction":
        session = connect("transformer")
        session.execute("select 1")
    else:
        session = _session_of_dbt()
    said: list[str] = []

    def end_it(line: str) -> None:
        said.append(line)
        if line == WAITING:
            session.close()

    backup(tmp_path, say=end_it)
    assert said.count(WAITING) == 1


def test_a_build_goes_on_with_the_next_node(warehouse_db: Path, tmp_path: Path) -> None:
    """For which dbt connects anew: between two nodes it has no session."""
    first, ended = connect("transformer"), []
    first.execute("select 1")

    def build_on() -> None:
        first.close()
        # the backup looks once in a second
        sleep(2)
        with connect("transformer") as second:
            second.execute("select pg_sleep(2)")
        ended.append("the second node")

    later = Thread(target=build_on)
    backup(tmp_path, say=lambda line: later.start() if line == WAITING else None)
    assert ended == ["the second node"]
    later.join()
