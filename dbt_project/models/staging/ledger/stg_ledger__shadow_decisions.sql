-- without a step of its own: what asks for the newest of a model has to see the index
select
    model_id,
    symbol,
    bar_start,
    bar_end,
    tradable_until,
    decided_at,
    is_late,
    feature_names,
    feature_values,
    score,
    target_weight
from {{ source('ledger', 'shadow_decisions') }}
