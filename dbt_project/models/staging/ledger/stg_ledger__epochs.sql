with source as (
    select * from {{ source('ledger', 'epochs') }}
),

listed as (
    select
        account_id,
        epoch_no,
        broker_time,
        reason,
        started_at
    from source
)

select * from listed
