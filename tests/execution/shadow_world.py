"""Models in the shadow, and a calendar around this moment: their decisions are dated by the clock of the database."""

from datetime import datetime, timedelta

from tests.execution.world import Warehouse
from tests.machine import as_owner
from warehouse.connection import connect

HOUR = timedelta(hours=1)


def enter_shadow(warehouse: Warehouse, model_id: str, registered_at: datetime) -> None:
    """The model is in the shadow since this moment, as if it had been registered then."""
    warehouse.enter_state(model_id, "shadow")
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
