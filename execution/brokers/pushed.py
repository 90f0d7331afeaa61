"""What a broker's stream has pushed: its thread fills a queue, and the session empties it."""

import queue
import time
from collections.abc import Sequence

from execution.brokers.base import BrokerEvent


def received(pushed: queue.Queue[BrokerEvent], wait_seconds: float) -> Sequence[BrokerEvent]:
    """Everything in the queue, oldest first; waits up to so long for the first."""
    events: list[BrokerEvent] = []
    deadline = time.monotonic() + wait_seconds
    while True:
        remaining = 0.0 if events else deadline - time.monotonic()
        try:
            events.append(pushed.get(timeout=remaining) if remaining > 0 else pushed.get_nowait())
        except queue.Empty:
            return events
