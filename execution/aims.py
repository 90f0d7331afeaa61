"""What a symbol was last traded to: where drift is let run, only another target trades it again."""

import psycopg


def aimed_at(
    cursor: psycopg.Cursor, account_id: str, bars: list[tuple[str, str, object]]
) -> dict[tuple[str, str], float]:
    """The target weight of the newest decision before the bar, by (model, symbol), where that decision was carried out.

    A decision of an earlier epoch of the account is left out, and so is one whose order was refused, cut or filled in
    part, or that was followed by an order that closed the position without a decision: the same target trades again.
    What passed between two models' shares is carried out.
    """
    models, symbols, starts = map(list, zip(*bars, strict=True)) if bars else ([], [], [])
    cursor.execute(
        """
        select asked.model_id, asked.symbol, newest.target_weight
        from unnest(%s::text[], %s::text[], %s::timestamptz[]) as asked (model_id, symbol, bar_start)
        cross join lateral (
          select decisions.target_weight, decisions.decided_at, intents.client_order_id, intents.quantity,
            orders.status, sizings.inputs
          from ledger.decisions
          left join ledger.intents on decisions.decision_id = intents.decision_id
          left join ledger.orders on intents.client_order_id = orders.client_order_id
          left join ledger.sizings on intents.client_order_id = sizings.client_order_id
          where decisions.account_id = %s and decisions.model_id = asked.model_id
            and decisions.symbol = asked.symbol and decisions.bar_start < asked.bar_start
            and decisions.decided_at >= ledger.epoch_start(decisions.account_id)
          order by decisions.bar_start desc, decisions.attempt desc
          limit 1
        ) as newest
        where (newest.client_order_id is null or newest.status = 'filled'
            -- orders from before this was kept were for all that was wanted
            and newest.quantity = coalesce(abs((newest.inputs ->> 'wanted')::numeric), newest.quantity))
          and not exists (select from ledger.intents as closing
            where closing.account_id = %s and closing.symbol = asked.symbol and closing.decision_id is null
              and closing.written_at > newest.decided_at
              -- what closed another model's share did not touch this one's
              and not exists (select from ledger.retirements
                where retirements.retirement_id = closing.retirement_id
                  and retirements.model_id <> asked.model_id))
        """,
        (models, symbols, starts, account_id, account_id),
    )
    return {(model_id, symbol): weight for model_id, symbol, weight in cursor}
