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

pulses as (
    select * from {{ ref('stg_ledger__reconciliation_pulse') }}
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
        pulses.outcome as reconciled,
        pulses.broker_time as reconciled_at,
        coalesce(pulses.times_compared, 0) as times_reconciled
    from accounts
    left join cash on accounts.account_id = cash.account_id
    left join newest_acts as acts on accounts.account_id = acts.account_id
    left join pulses on accounts.account_id = pulses.account_id
)

select * from described
