{{ config(
    materialized='incremental',
    incremental_strategy='delete+insert',
    unique_key='decision_id',
    full_refresh=false,
    on_schema_change='append_new_columns',
) }}
-- depends_on: {{ source('live', 'live_regrowths') }}, {{ source('reference', 'calendar_changes') }}

-- every look back computes a symbol's history anew: a build takes the newest decisions that were not audited yet, or
-- whose bars were built anew since
{%- set decisions_a_build = var('parity_decisions', 5) %}

with decisions as (
    select * from {{ ref('stg_ledger__decisions') }}
),

models as (
    select * from {{ ref('stg_research__models') }}
),

runs as (
    select * from {{ ref('stg_research__runs') }}
),

catalog as (
    select * from {{ ref('catalog') }}
),

due as (
    select decisions.*
    from decisions
    {%- if is_incremental() %}
    left join {{ this }} as audited on decisions.decision_id = audited.decision_id
    where
        audited.decision_id is null
        or exists (
            select 1
            from {{ source('live', 'live_regrowths') }} as regrowths
            where
                regrowths.model = 'features_' || decisions.timeframe
                and regrowths.symbol = decisions.symbol
                and regrowths.bar_start <= decisions.bar_start
                and regrowths.regrown_at > audited.audited_at
        )
    {%- endif %}
    order by decisions.decided_at desc
    limit {{ decisions_a_build }}
),

redefined as (
    select
        due.decision_id,
        count(*) as features
    from due
    inner join models on due.model_id = models.model_id
    inner join runs on models.run_id = runs.run_id
    cross join lateral unnest(due.feature_names) as names (feature)
    left join catalog on names.feature = catalog.feature and due.timeframe = catalog.timeframe
    where (runs.feature_fingerprints ->> names.feature = catalog.fingerprint) is not true
    group by due.decision_id
),

-- a look back knows the rows of then and the rules of today: seeds and calendars keep no past
ruled_since as (
    select due.decision_id
    from due
    where
        exists (
            select 1
            from {{ source('live', 'live_regrowths') }} as regrowths
            where
                regrowths.model = 'features_' || due.timeframe
                and regrowths.symbol = due.symbol
                and regrowths.bar_start = '-infinity'
                and regrowths.regrown_at > due.decided_at
        )
        or exists (
            select 1
            from {{ source('reference', 'calendar_changes') }} as calendar_changes
            inner join {{ ref('instruments') }} as instruments on calendar_changes.calendar = instruments.calendar
            where
                instruments.symbol = due.symbol
                and calendar_changes.first_day <= (due.bar_start at time zone 'UTC')::date
                and calendar_changes.changed_at > due.decided_at
        )
),

recomputed as (
    select
        due.*,
        features.vector_as_of(due.symbol, due.timeframe, due.bar_start, due.feature_names, due.decided_at)
            as then_values,
        features.vector_as_of(due.symbol, due.timeframe, due.bar_start, due.feature_names, null) as now_values
    from due
),

audited as (
    select
        recomputed.decision_id,
        recomputed.account_id,
        recomputed.model_id,
        recomputed.symbol,
        recomputed.timeframe,
        recomputed.bar_start,
        recomputed.decided_at,
        recomputed.feature_names,
        recomputed.feature_values,
        recomputed.then_values,
        recomputed.now_values,
        case
            when redefined.decision_id is not null then 'redefined'
            when (recomputed.then_values = recomputed.feature_values) is not true
                then case when ruled_since.decision_id is not null then 'other rules' else 'defect' end
            when (recomputed.now_values = recomputed.feature_values) is not true then 'revised since'
            else 'identical'
        end as verdict,
        clock_timestamp() as audited_at
    from recomputed
    left join redefined on recomputed.decision_id = redefined.decision_id
    left join ruled_since on recomputed.decision_id = ruled_since.decision_id
)

select * from audited
