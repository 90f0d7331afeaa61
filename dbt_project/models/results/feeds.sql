select
    source,
    timeframe,
    state,
    since,
    symbols,
    mute_symbols,
    newest_bar_start,
    heartbeat_at,
    reconnects,
    last_error
from {{ ref('stg_raw__feeds') }}
