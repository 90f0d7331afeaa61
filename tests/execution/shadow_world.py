"""Models in the shadow, and a calendar around this moment: their decisions are dated by the clock of the database."""

from datetime import datetime, timedelta

from execution.market_view import Package
from execution.shadow import Seen, Shadow
from tests.execution.world import Warehouse
from tests.machine import as_owner
from warehouse.connection import connect

HOUR = timedelta(hours=1)


def enter_shadow(warehouse: Warehouse, model_id: str, registered_at: datetime, *symbols: str) -> None:
    """The model of these symbols is in the shadow since this moment, as if it had been registered then."""
    warehouse.enter_state(model_id, "shadow", symbols)
    with as_owner(past_triggers=True) as connection:
        connection.execute(
            "insert into research.shadow_registrations (model_id, looks, levels, related_no, reason, registered_at)"
            " values (%s, '{100}', '{0.005}', 1, 'a test', %s)",
            (model_id, registered_at),
        )


def list_symbol(warehouse: Warehouse, symbol: str, calendar: str, *sessions: tuple[datetime, datetime]) -> None:
    """A symbol with a calendar of its own, of these opens and closes."""
    warehouse.change("insert into reference.instruments values (%s, 'equity', %s)", symbol, calendar)
    with connect("loader") as connection:
        for number, (opens, closes) in enumerate(sessions):
            connection.execute(
                "insert into reference.trading_sessions values (%s, %s, %s, %s, %s)",
                (calendar, opens.date() + timedelta(days=number), opens, closes, number),
            )


def publish(warehouse: Warehouse, symbol: str, opens: datetime, closes: datetime, signal: float) -> None:
    """A bar of the symbol has closed and landed."""
    warehouse.change("insert into canonical.ohlcv_1d values (%s, %s, %s, 50)", symbol, opens, closes)
    warehouse.change("insert into features.features_1d values (%s, %s, true, %s, 0.3)", symbol, opens, signal)


def fresh(warehouse: Warehouse, *symbols: str) -> None:
    """The symbols' features are built."""
    for symbol in symbols:
        warehouse.change("insert into features.freshness_1d values (%s, '1d', null, null, null)", symbol)


class Only(Shadow):
    """Knows these models; those of other tests are set aside."""

    def __init__(self, *packages: Package) -> None:
        super().__init__()
        self._known = {package.model_id: package for package in packages}

    def decide(self, load: object = None, *, waits: bool = False) -> tuple[Seen, ...]:
        return super().decide(lambda record: self._known.get(record.model_id, "another test's"), waits=waits)


def seen_of(*packages: Package, waits: bool = False) -> dict[str, Seen]:
    """What one pass did with these models."""
    with Only(*packages) as shadow:
        return {seen.model_id: seen for seen in shadow.decide(waits=waits) if seen.aside != "another test's"}
