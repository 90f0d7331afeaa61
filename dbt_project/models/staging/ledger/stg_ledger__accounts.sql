with source as (
    select * from {{ source('ledger', 'accounts') }}
),

listed as (
    select
        account_id,
        broker,
        mode,
        opened_at
    from source
)

select * from listed
