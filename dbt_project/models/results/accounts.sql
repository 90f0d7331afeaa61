with accounts as (
    select * from {{ ref('stg_ledger__accounts') }}
),

cash as (
    select * from {{ ref('stg_ledger__cash') }}
),

newest_acts as (
    select distinct on (account_id) *
    from {{ ref('stg_ledger__halts') }}
    order by account_id asc, halt_id desc
),

newest_reconciliations as (
    select distinct on (account_id) *
    from {{ ref('stg_ledger__reconciliations') }}
    order by account_id asc, reconciliation_id desc
),

described as (
    select
        accounts.account_id,
        accounts.broker,
        accounts.mode,
        accounts.opened_at,
        coalesce(cash.cash, 0) as cash,
        coalesce(acts.action, 'release') as standing,
        acts.reason,
        acts.acted_at,
        reconciliations.outcome as reconciled,
        reconciliations.broker_time as reconciled_at
    from accounts
    left join cash on accounts.account_id = cash.account_id
    left join newest_acts as acts on accounts.account_id = acts.account_id
    left join newest_reconciliations as reconciliations on accounts.account_id = reconciliations.account_id
)

select * from described
