-- without a step of its own: what asks for the newest of a model has to see the index
select
    decision_id,
    account_id,
    model_id,
    symbol,
    timeframe,
    bar_start,
    bar_end,
    attempt,
    decided_at,
    broker_time,
    feature_names,
    feature_values,
    score,
    target_weight
from {{ source('ledger', 'decisions') }}
