with source as (
    select * from {{ source('ledger', 'activities') }}
),

listed as (
    select
        account_id,
        activity_id,
        kind,
        symbol,
        quantity,
        cash,
        happened_at,
        recorded_at
    from source
)

select * from listed
