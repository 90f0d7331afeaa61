with registrations as (
    select * from {{ ref('stg_research__shadow_registrations') }}
),

newest_states as (
    select distinct on (model_id)
        model_id,
        state
    from {{ ref('stg_research__model_states') }}
    order by model_id asc, entered_at desc
),

dated as (
    select
        model_id,
        bar_start,
        is_late,
        (bar_start at time zone 'UTC')::date as day
    from {{ ref('stg_ledger__shadow_decisions') }}
),

decided as (
    select
        model_id,
        count(*) as decisions,
        count(*) filter (where is_late) as late_decisions,
        count(distinct day) filter (where not is_late) as days_in_time,
        max(bar_start) as newest_bar
    from dated
    group by model_id
),

newest_looks as (
    select distinct on (model_id) *
    from {{ ref('stg_research__forward_looks') }}
    order by model_id asc, look_no desc
),

checks as (
    select
        looks.model_id,
        checks.*
    from newest_looks as looks
    cross join
        lateral jsonb_to_recordset(looks.checks) as checks (tier integer, name text, value float8, outcome text)
),

checked as (
    select
        model_id,
        max(value) filter (where name = 'luck_p') as luck_p,
        max(value) filter (where name = 'net_sharpe') as net_sharpe,
        string_agg(name, ', ' order by tier, name) filter (where outcome <> 'passed') as failed_checks
    from checks
    group by model_id
),

joined as (
    select
        registrations.model_id,
        newest_states.state as model_state,
        registrations.reason,
        registrations.registered_at,
        registrations.related_no,
        coalesce(decided.decisions, 0) as decisions,
        coalesce(decided.late_decisions, 0) as late_decisions,
        coalesce(decided.days_in_time, 0) as days_in_time,
        decided.newest_bar,
        coalesce(looks.look_no, 0) as looks_taken,
        case
            when newest_states.state = 'shadow' and coalesce(looks.outcome, '') <> 'passed'
                then registrations.looks[coalesce(looks.look_no, 0) + 1]
        end as next_look_after,
        looks.outcome,
        looks.level,
        checked.luck_p,
        checked.net_sharpe,
        checked.failed_checks
    from registrations
    inner join newest_states on registrations.model_id = newest_states.model_id
    left join decided on registrations.model_id = decided.model_id
    left join newest_looks as looks on registrations.model_id = looks.model_id
    left join checked on registrations.model_id = checked.model_id
)

select * from joined
