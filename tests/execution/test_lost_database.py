"""A connection that the database ends, wherever a session is: one sentence, and the next session goes on."""

import psycopg
import pytest

from execution.session import Session
from tests.execution.agreement import assert_agree
from tests.execution.world import AFTER_OPEN, trading_days
from tests.machine import as_owner
from warehouse.errors import Retry, Stop

pytestmark = pytest.mark.database

DAYS = trading_days()
_CUT = """
select pg_terminate_backend(pid) from pg_stat_activity
where backend_type = 'client backend' and usename <> current_user
"""


@pytest.mark.parametrize(
    "statement",
    [
        "set synchronous_commit",
        "set plan_cache_mode",
        "ledger.note_reconciliation",
        "reference.trading_sessions",
        "ledger.decisions",
        "ledger.order_events",
    ],
)
def test_a_connection_cut_before_a_statement_is_one_sentence(exchange, warehouse, package, monkeypatch, statement):
    warehouse.publish(DAYS[0], {"ALPHA": 0.5})
    real, cut = psycopg.Cursor.execute, []

    def execute(self, query, *arguments, **options):
        if not cut and statement in str(query):
            cut.append(query)
            with as_owner() as connection:
                connection.execute(_CUT)
        return real(self, query, *arguments, **options)

    monkeypatch.setattr(psycopg.Cursor, "execute", execute)
    with (
        pytest.raises((Retry, Stop)),
        Session.open([package], exchange.broker(), pause=_no_pause) as session,
    ):
        session.decide()
    assert cut, f"no statement of the session has {statement}"
    with Session.open([package], exchange.broker(), pause=_no_pause) as session:
        session.decide()
        exchange.advance(DAYS[1].opens + AFTER_OPEN)
        assert session.settle(timeout=10) == ()
    book = exchange.book()
    assert [order["symbol"] for order in book["orders"]] == ["ALPHA"]
    assert_agree(book)


def _no_pause(_: float) -> None:
    pass
