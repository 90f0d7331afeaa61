"""A vendor's request budget, shared by all processes of a database: one row of raw.request_budgets per vendor.

The generic cell rate algorithm: `spent_until` runs ahead of the clock by the cost of each request; a request may be
sent when it is no more than a burst ahead. Cost and burst are chosen so that no period ever sees more than the limit.
"""

import time
from collections.abc import Callable

import psycopg

from warehouse.connection import connect
from warehouse.errors import Retry

# a tenth of the limit may be spent at once; the rest is spread over the period
BURST_SHARE = 10
# what a caller waits for here; a longer closure is the caller's to plan with
PATIENCE_S = 300.0

_TAKE = """
    insert into raw.request_budgets as budget (vendor, spent_until)
    values (%(vendor)s, clock_timestamp() + %(cost)s * interval '1 second')
    on conflict (vendor) do update
    set spent_until = greatest(budget.spent_until, clock_timestamp()) + %(cost)s * interval '1 second'
    where budget.closed_until <= clock_timestamp() + %(patience)s * interval '1 second'
    returning extract(epoch from greatest(
        budget.spent_until - %(burst)s * interval '1 second', budget.closed_until
    ) - clock_timestamp())
"""
_CLOSE = """
    insert into raw.request_budgets as budget (vendor, spent_until, closed_until)
    values (%(vendor)s, clock_timestamp(), clock_timestamp() + %(seconds)s * interval '1 second')
    on conflict (vendor) do update
    set closed_until = greatest(budget.closed_until, clock_timestamp() + %(seconds)s * interval '1 second')
"""
# a vendor that was never closed has -infinity, of which PostgreSQL before 17 subtracts nothing
_CLOSED_FOR = """
    select extract(epoch from greatest(closed_until, 'epoch') - clock_timestamp())
    from raw.request_budgets
    where vendor = %(vendor)s
"""


class RequestBudget:
    """Takes from a vendor's budget, in a transaction of its own; the row's lock puts processes in a queue."""

    def __init__(
        self, vendor: str, *, limit: int | None, period_s: float = 60.0, sleep: Callable[[float], None] = time.sleep
    ) -> None:
        """At most `limit` requests in any period; None for a plan without one, where only closures count."""
        burst = max(1, limit // BURST_SHARE) if limit else 0
        self.vendor = vendor
        self._cost_s = period_s / max(1, limit - burst) if limit else 0.0
        self._burst_s = burst * self._cost_s
        self._sleep = sleep
        self._connection: psycopg.Connection | None = None

    def take(self, weight: int = 1) -> None:
        """Wait until a request of this weight may be sent. Raises Retry when the vendor is closed for longer."""
        cost = weight * self._cost_s
        row = self._run(_TAKE, cost=cost, burst=max(cost, self._burst_s), patience=PATIENCE_S).fetchone()
        wait = float(row[0]) if row else self._closed_for()
        while wait > 0:
            if wait > PATIENCE_S and self._closed_for() > PATIENCE_S:
                raise Retry(f"{self.vendor} asked for no more requests for {wait:.0f} s", after=wait)
            self._sleep(wait)
            # another process may have been told to stop meanwhile
            wait = self._closed_for()

    def close(self, seconds: float) -> None:
        """The vendor asked to be left alone: nobody sends a request for so long."""
        self._run(_CLOSE, seconds=seconds)

    def _closed_for(self) -> float:
        row = self._run(_CLOSED_FOR).fetchone()
        return float(row[0]) if row else 0.0

    def _run(self, statement: str, **parameters: float) -> psycopg.Cursor:
        if self._connection is None or self._connection.closed:
            self._connection = connect("loader", autocommit=True)
        return self._connection.execute(statement, {"vendor": self.vendor, **parameters})
