"""A view runs with its reader's rights: whatever a planted function tries, its reader has written nothing."""

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import psycopg
import pytest

from execution.ledger import Ledger
from execution.market import Market
from loaders.raw.instruments import instruments_of
from tests.execution.test_ledger_invariants import WORLD
from tests.machine import as_owner
from training.panel_rows import INSTRUMENTS
from warehouse.connection import arrow, connect

pytestmark = pytest.mark.long

PLANTED = """
create function reference.planted() returns boolean language plpgsql as $$
declare
    attempt text;
begin
    foreach attempt in array array[
        'set transaction read write',
        'set local transaction_read_only = off',
        'select set_config(''transaction_read_only'', ''off'', false)',
        'select set_config(''default_transaction_read_only'', ''off'', false)',
        'select set_config(''search_path'', ''reference, pg_catalog'', false)',
        'insert into raw.coverage
            (source, dataset, symbol, timeframe, window_start, window_end, rows_received, rows_landed)
            values (''forged'', ''bars'', ''X'', ''1d'', ''2020-01-01'', ''2020-01-02'', 0, 0)',
        'insert into research.hypotheses (hypothesis_id, experiment_id, content, source_file)
            values (gen_random_uuid(), ''forged'', ''{}'', ''forged'')',
        'insert into ledger.accounts (account_id, broker, mode) values (gen_random_uuid(), ''forged'', ''paper'')',
        'select ledger.halt_account(''one'', ''forged'')',
        'select pg_notify(''landings'', ''forged'')'
    ] loop
        begin
            execute attempt;
        exception when others then
            null;
        end;
    end loop;
    return true;
end $$;
grant execute on function reference.planted to public;
create view reference.instruments as
select 'X' as symbol, 'equity' as asset_class, 'XNYS' as calendar where reference.planted();
create view reference.vendor_symbols as
select 'X' as symbol, 'v' as vendor, 'X' as vendor_symbol, null::date as valid_from, null::date as valid_to;
create view reference.broker_symbols as
select 'X' as symbol, 'alpaca' as broker, 'X' as broker_symbol where reference.planted();
"""
WRITTEN = """
select
    (select count(*) from raw.coverage), (select count(*) from research.hypotheses),
    (select count(*) from ledger.accounts), (select count(*) from ledger.halts)
"""


def written() -> tuple[int, ...]:
    with connect("analyst") as connection:
        return connection.execute(WRITTEN).fetchone()


@pytest.fixture
def planted(empty_warehouse: Path) -> None:
    with connect("executor") as connection:
        connection.execute(WORLD)
    with as_owner() as connection:
        connection.execute(
            "insert into reference.trading_sessions (calendar, session_date, open_at, close_at, session_no)"
            " select 'XNYS', day, day + interval '14 hours', day + interval '20 hours', day - date '2019-12-31'"
            " from (select date '2020-01-01' + number as day from generate_series(0, 30) as number) as days"
        )
        connection.execute("select ledger.note_reconciliation('one', 'close', '2020-01-31', 'agreed', '[]', '{}')")
    with connect("transformer") as connection:
        connection.execute(PLANTED)


def unwritten(read: Callable[[], object]) -> None:
    """Twice: what the first look sets must not help the second."""
    before = written()
    for _ in range(2):
        read()
    assert written() == before


def test_the_plant_writes_where_it_can(planted: None) -> None:
    for role in ("loader", "trainer", "executor"):
        before = written()
        with connect(role) as connection:
            connection.execute("select * from reference.instruments")
        assert written() != before


def over_one_connection(role: str, read: Callable[[psycopg.Connection], object]) -> Callable[[], None]:
    """Reading, and then a write of the reader's own, which must work and find the search path as it was."""

    def look() -> None:
        with connect(role) as connection:
            read(connection)
            assert connection.execute("show search_path").fetchone() == ("pg_catalog",)
            assert connection.execute("show default_transaction_read_only").fetchone() == ("off",)
            read(connection)
            connection.commit()

    return look


def test_loaders(planted: None) -> None:
    unwritten(over_one_connection("loader", lambda connection: instruments_of(connection, "v", ["X"])))


def test_trainers(planted: None) -> None:
    unwritten(lambda: arrow("trainer", INSTRUMENTS, (["X"],)))


def test_sessions_of_trading(planted: None) -> None:
    market = Market()
    try:
        unwritten(lambda: market.sessions({"X": "1d"}, datetime(2020, 1, 20, tzinfo=UTC)))
    finally:
        market.close()


def test_the_ledgers_concerns(planted: None) -> None:
    with Ledger.view("one") as ledger:
        found = []
        unwritten(lambda: found.extend(ledger.concerns(0)))
        assert any("still partially_filled" in concern for concern in found), "the planted view was read"
        before = written()
        ledger.halt("the ledger still writes")
        assert written() == (*before[:3], before[3] + 1)


def test_a_reader_by_setting_begins_every_transaction_so(planted: None) -> None:
    with connect("executor", read_only=True) as connection:
        unwritten(lambda: (connection.execute("select * from reference.broker_symbols"), connection.commit()))
