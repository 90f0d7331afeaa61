with source as (
    select * from {{ source('ledger', 'intents') }}
),

listed as (
    select
        client_order_id,
        decision_id,
        account_id,
        symbol,
        side,
        quantity,
        order_type,
        time_in_force,
        reference_price,
        verdict,
        refusals,
        written_at
    from source
)

select * from listed
