with source as (
    select * from {{ source('ledger', 'allotments') }}
),

listed as (
    select
        allotment_id,
        account_id,
        symbol,
        model_id,
        quantity,
        cause,
        cause_id,
        noted_at
    from source
)

select * from listed
