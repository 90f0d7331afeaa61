with source as (
    select * from {{ source('ledger', 'adoptions') }}
),

listed as (
    select
        adoption_id,
        account_id,
        finding,
        subject,
        statement,
        symbol,
        quantity,
        cash,
        reason,
        adopted_at
    from source
)

select * from listed
