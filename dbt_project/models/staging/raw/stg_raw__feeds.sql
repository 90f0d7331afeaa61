with source as (
    select * from {{ source('raw', 'feeds') }}
),

listed as (
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
    from source
)

select * from listed
