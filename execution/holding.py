"""Since when a position is held and what its price did, from decisions, fills and bars: a restart decides alike."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

import psycopg
from psycopg import sql

from warehouse.rows import one


@dataclass(frozen=True, slots=True)
class Entry:
    """What the ledger knows of a position's beginning, at the newest decision before a bar.

    held_since: start of the bar of its entry, where one had begun by then. filled_at, otherwise: when the first order
    since the model held nothing was filled, when another model's share passed to it, or when it was handed over.
    barred: the side that may not be taken again yet.
    """

    held_since: datetime | None = None
    filled_at: datetime | None = None
    barred: int = 0


@dataclass(frozen=True, slots=True)
class Holding:
    """What exits are judged by at a bar: see `models_registry.exits.Held`. Prices are adjusted."""

    since: datetime | None = None
    bars: int = 0
    entry: float = math.nan
    low: float = math.nan
    high: float = math.nan
    barred: int = 0


def entries(
    cursor: psycopg.Cursor, account_id: str, bars: Mapping[tuple[str, str], datetime]
) -> dict[tuple[str, str], Entry]:
    """By (model, symbol) what is known of the position before the bar that starts then, in the account's epoch."""
    cursor.execute(
        """
        select asked.model_id, asked.symbol, newest.held_since, coalesce(newest.barred, 0) as barred,
          case when newest.held_since is null then (
            select case when began.is_handed_over then began.at else (
              select min(least(fills.filled_at, crosses.broker_time)) from ledger.decisions
              left join ledger.intents using (decision_id)
              left join ledger.fills using (client_order_id)
              left join ledger.crosses on crosses.buyer_decision_id = decisions.decision_id
              where decisions.account_id = %(account)s and decisions.model_id = asked.model_id
                and decisions.symbol = asked.symbol and decisions.decided_at >= began.known_at
                and decisions.bar_start between began.at and asked.bar_start) end
            from (
              (select false as is_handed_over, bar_start as at, decided_at as known_at from ledger.decisions
                where decisions.account_id = %(account)s and decisions.model_id = asked.model_id
                  and decisions.symbol = asked.symbol and decisions.bar_start <= asked.bar_start and held_side = 0
                  and decisions.decided_at >= epoch.started_at
                order by bar_start desc, attempt desc limit 1)
              union all
              (select true, broker_time, noted_at from ledger.retirements
                where retirements.account_id = %(account)s and retirements.successor = asked.model_id
                  and retirements.symbol = asked.symbol and retirements.act = 'hand_over'
                  and retirements.noted_at >= epoch.started_at
                order by retirement_id desc limit 1)
            ) as began
            order by began.known_at desc limit 1) end as filled_at
        from unnest(%(models)s::text[], %(symbols)s::text[], %(starts)s::timestamptz[])
          as asked (model_id, symbol, bar_start)
        cross join (select ledger.epoch_start(%(account)s) as started_at) as epoch
        left join lateral (
          select bar_start, held_since, barred from ledger.decisions
          where decisions.account_id = %(account)s and decisions.model_id = asked.model_id
            and decisions.symbol = asked.symbol and decisions.bar_start < asked.bar_start
            and decisions.decided_at >= epoch.started_at
          order by bar_start desc, attempt desc limit 1) as newest on true
        """,
        {
            "account": account_id,
            "models": [model_id for model_id, _ in bars],
            "symbols": [symbol for _, symbol in bars],
            "starts": [*bars.values()],
        },
    )
    return {
        (model_id, symbol): Entry(held_since, filled_at, barred)
        for model_id, symbol, held_since, barred, filled_at in cursor
    }


def holding(cursor: psycopg.Cursor, timeframe: str, symbol: str, entry: Entry, bar_start: datetime) -> Holding:
    """The position of a symbol as it is at the close of the bar that starts then.

    It began at the open of the first bar with trades that ended after the fill, or after the hand-over; while there is
    none, nothing is known of it. Where nobody knows of a fill, as when another model bought it, the bar itself is taken
    for the first.
    """
    cursor.execute(
        sql.SQL(
            """
            with traded as (
              select bar_start, bar_end, adj_open::float8 as entry,
                case when coalesce(is_range_doubtful, false) then adj_open else adj_low end::float8 as low,
                case when coalesce(is_range_doubtful, false) then adj_open else adj_high end::float8 as high
              from canonical.{bars}
              where symbol = %(symbol)s and bar_start <= %(bar_start)s
                -- no bar is longer than a day
                and bar_end > %(moment)s and bar_start > %(moment)s - interval '1 day'
                and not (coalesce(is_silent, false) or (coalesce(volume, 1) = 0 and high = low))
            )
            select min(bar_start), count(*), (array_agg(entry order by bar_start))[1], min(low), max(high) from traded
            """
        ).format(bars=sql.Identifier(f"ohlcv_{timeframe}")),
        {"symbol": symbol, "bar_start": bar_start, "moment": entry.held_since or entry.filled_at or bar_start},
    )
    since, count, price, low, high = one(cursor)
    if since is None:
        return Holding(barred=entry.barred)
    return Holding(since, count, price, low, high, entry.barred)
