"""The look-ahead audit passes the library and catches every way of peeking that it is shown."""

from collections.abc import Iterator

import psycopg
import pytest

from flows.look_ahead import audit, find_peeks
from tests.conftest import Demo
from warehouse.connection import connect

pytestmark = pytest.mark.xdist_group("demo")

PEEKS = {
    "next_close": "lead(adj_close) over bars / adj_close",
    "centred_mean": "avg(adj_close) over (bars rows between 5 preceding and 5 following)",
    "normalised_by_all": "adj_close / max(adj_close) over (partition by symbol)",
    "rank_in_all": "percent_rank() over (partition by symbol order by adj_close)",
    "label": "sign(lead(adj_open, 2) over bars - lead(adj_open) over bars)",
}
HONEST = {"own_close": "adj_close", "last_close": "lag(adj_close) over bars"}


@pytest.fixture
def peeking(demo: Demo) -> Iterator[psycopg.Connection]:
    """A feature relation that peeks in all ways, in a transaction that is never committed."""
    columns = ", ".join(f"({sql})::float8 as {name}" for name, sql in (PEEKS | HONEST).items())
    with connect("transformer") as connection:
        connection.autocommit = True
        connection.execute("create table features.peeking__history (symbol text)")
        connection.execute(
            f"create view features.peeking as select symbol, bar_start, {columns} from canonical.ohlcv_1d"
            " window bars as (partition by symbol order by bar_start)"
        )
        connection.autocommit = False
        yield connection
        connection.rollback()
        connection.execute("drop view features.peeking")
        connection.execute("drop table features.peeking__history")


def test_the_library_does_not_peek(demo: Demo) -> None:
    assert audit() > 20_000


def test_every_peek_is_caught_and_nothing_else(peeking: psycopg.Connection) -> None:
    peeks, _ = find_peeks(peeking, "features.peeking", "canonical.ohlcv_1d")
    assert {peek.feature for peek in peeks} == set(PEEKS)
