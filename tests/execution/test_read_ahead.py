"""Bars and features are read while the broker is asked, and what fails there is told once it is needed."""

from dataclasses import replace
from threading import Thread

import pytest

from execution.market import Market
from execution.session import Session
from tests.execution.spot import wait_for
from tests.execution.world import SignalPackage, rows, trading_days
from warehouse.connection import connect
from warehouse.errors import Stop

pytestmark = pytest.mark.database

DAYS = trading_days()
WAITING = "select count(*) from pg_locks where not granted and relation = 'features.features_1d'::regclass"


def test_features_are_read_while_the_broker_is_asked(exchange, warehouse, package):
    warehouse.publish(DAYS[0], {"ALPHA": 0.5})
    broker = exchange.broker()
    with Session.open([package], broker) as session, connect("transformer") as locked:
        locked.execute("lock table features.features_1d in access exclusive mode")
        real, seen = broker.snapshot, []

        def snapshot(since):
            if not seen:
                seen.append(wait_for(lambda: rows(WAITING) == [(1,)], 20))
                locked.rollback()
            return real(since)

        broker.snapshot = snapshot
        assert [order.symbol for order in session.decide().sent] == ["ALPHA"]
        assert seen[0], "nothing was read before the broker had answered"


def test_what_was_begun_and_not_asked_for_is_dropped(exchange, warehouse, package):
    """Another read in between waits for it; then all is read anew."""
    market, now = Market(), exchange.broker().clock().now
    try:
        warehouse.publish(DAYS[0], {"ALPHA": 0.5})
        market.begin([package])
        market.sessions({"ALPHA": "1d"}, now)
        warehouse.publish(DAYS[1], {"ALPHA": 0.5})
        assert market.read([package], [], now).rows[package.model_id, "ALPHA"].bar_start.date() == DAYS[1].opens.date()
        market.begin([package])
        market.begin([package])
        assert market.read([package], ["GAMMA"], now).rows.keys() == {
            (package.model_id, one) for one in package.symbols
        }
    finally:
        market.close()


@pytest.mark.parametrize("kind", ["others", "long ago"])
def test_what_was_begun_for_others_or_long_ago_is_read_anew(exchange, warehouse, package, monkeypatch, kind):
    market, now = Market(), exchange.broker().clock().now
    other = replace(package, model_id="other-0000")
    try:
        warehouse.publish(DAYS[0], {"ALPHA": 0.5})
        market.begin([other if kind == "others" else package])
        market._ahead.found.result()
        warehouse.publish(DAYS[1], {"ALPHA": 0.5})
        if kind == "long ago":
            monkeypatch.setattr("execution.market._AHEAD_SECONDS", 0.0)
        assert market.read([package], [], now).rows[package.model_id, "ALPHA"].bar_start.date() == DAYS[1].opens.date()
    finally:
        market.close()


def test_closing_waits_for_nobodys_lock(warehouse, package):
    market = Market()
    with connect("transformer") as locked:
        locked.execute("lock table features.features_1d in access exclusive mode")
        market.begin([package])
        assert wait_for(lambda: rows(WAITING) == [(1,)], 20)
        closing = Thread(target=market.close)
        closing.start()
        closing.join(20)
        was_waiting = closing.is_alive()
        locked.rollback()
    closing.join()
    assert not was_waiting


def test_what_fails_beside_is_told_where_it_is_needed(warehouse):
    package, market = SignalPackage(model_id="unbuilt-0000", timeframe="15m"), Market()
    try:
        market.begin([package])
        with pytest.raises(Stop, match="the warehouse is not built"):
            market.read([package], [], DAYS[0].closes)
    finally:
        market.close()
