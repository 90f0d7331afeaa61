with source as (
    select * from {{ source('ledger', 'sizings') }}
),

listed as (
    select
        client_order_id,
        inputs,
        verdicts
    from source
)

select * from listed
