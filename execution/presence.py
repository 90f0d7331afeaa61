"""Who acts for an account at this moment. One process at a time does; all others may look.

The account is claimed in the database by a row that only functions write, and the claim goes with the process when it
dies. Whoever is refused reads who it is: a person who knows that a session goes on needs no error.
"""

import os
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum

import psycopg

from warehouse.errors import Stop
from warehouse.turns import claim

_SECONDS_TO_CLAIM = 2.0
_TRADES = ", trades "


class Purpose(StrEnum):
    """What an account is claimed for."""

    TRADE = "trade"
    PAPER_TRADE = "paper-trade"
    RECONCILE = "reconcile"
    ADOPT = "adopt"
    CONTROL = "control"
    SESSION = "session"


@dataclass(frozen=True, slots=True)
class Presence:
    """A process that acts for an account since a moment (UTC)."""

    purpose: str
    place: str
    since: datetime

    @property
    def goes_on(self) -> bool:
        """Whether it decides every bar that lands from now on. The others end, and what lands may come after them."""
        return self.purpose == Purpose.TRADE

    @property
    def models(self) -> frozenset[str]:
        """Ids of the models that it was opened with; it reads no others until it is started again."""
        return frozenset(self.place.partition(_TRADES)[2].split(", "))

    def __str__(self) -> str:
        return f"`{self.purpose}` ({self.place}) since {self.since:%F %R} UTC"


class Occupied(Stop):
    """Another process acts for the account."""

    def __init__(self, account_id: str, presence: Presence | None) -> None:
        by = "by another process" if presence is None else f"by {presence}"
        super().__init__(f"account {account_id} is in use {by}: one session at a time")
        self.presence = presence


def enter(connection: psycopg.Connection, account_id: str, purpose: Purpose, models: Sequence[str] = ()) -> None:
    """Act for the account from now on, until the connection is closed. Raises Occupied when another process does."""
    place = f"process {os.getpid()} on {socket.gethostname()}" + (_TRADES + ", ".join(models) if models else "")
    if not claim(connection, _subject(account_id), _SECONDS_TO_CLAIM, purpose, place):
        raise Occupied(account_id, present(connection, account_id))


def present(connection: psycopg.Connection, account_id: str) -> Presence | None:
    """Who acts for the account now; None when nobody does."""
    row = connection.execute("select * from warehouse.claimed_by(%s)", (_subject(account_id),)).fetchone()
    return None if row is None else Presence(row[0] or Purpose.SESSION, row[1], row[2].astimezone(UTC))


def _subject(account_id: str) -> str:
    return f"account {account_id}"
