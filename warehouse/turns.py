"""Turns and claims: what one transaction, or one connection, of a role does at a time.

They are rows of the database that only functions write, found by the role that has logged in. So no other role can take
or keep them, as any could an advisory lock.
"""

import time

import psycopg

from warehouse.rows import scalar

_PAUSE_SECONDS = 0.05


def take_turn(connection: psycopg.Connection, subject: str) -> None:
    """Wait for the role's other transactions that have the turn; the open transaction keeps it to its end.

    What a later statement of it reads includes all that they have committed.
    """
    connection.execute("select warehouse.take_turn(%s)", (subject,))


def claim(connection: psycopg.Connection, subject: str, wait: float, purpose: str = "", place: str = "") -> bool:
    """Claim something until the connection is closed; False when another connection still has it after `wait` seconds.

    The server may need a moment to see that a process has died. `purpose` and `place` are for whoever is refused.
    """
    deadline = time.monotonic() + wait
    while True:
        with connection.transaction():
            if scalar(connection.execute("select warehouse.claim(%s, %s, %s)", (subject, purpose, place))):
                return True
        if time.monotonic() > deadline:
            return False
        time.sleep(_PAUSE_SECONDS)
