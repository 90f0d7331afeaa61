with decisions as (
    select
        model_id,
        bar_start,
        feature_names,
        feature_values,
        score
    from {{ ref('stg_ledger__decisions') }}
    union all
    select
        model_id,
        bar_start,
        feature_names,
        feature_values,
        score
    from {{ ref('stg_ledger__shadow_decisions') }}
),

newest_states as (
    select distinct on (model_id)
        model_id,
        state
    from {{ ref('stg_research__model_states') }}
    order by model_id asc, entered_at desc
),

distributions as (
    select known.*
    from {{ ref('stg_research__model_distributions') }} as known
    inner join newest_states on known.model_id = newest_states.model_id
    where newest_states.state in ('shadow', 'paper', 'live')
),

models as (
    select
        model_id,
        max(window_bars) as window_bars
    from distributions
    group by model_id
),

newest_bars as (
    select
        models.model_id,
        newest.bar_start
    from models
    cross join lateral (
        select distinct decisions.bar_start
        from decisions
        where decisions.model_id = models.model_id
        order by decisions.bar_start desc
        limit models.window_bars
    ) as newest
),

counted_bars as (
    select
        model_id,
        count(*) as bars,
        min(bar_start) as first_bar,
        max(bar_start) as last_bar
    from newest_bars
    group by model_id
),

read_values as (
    select
        newest_bars.model_id,
        pairs.quantity,
        pairs.value
    from newest_bars
    inner join decisions
        on newest_bars.model_id = decisions.model_id and newest_bars.bar_start = decisions.bar_start
    cross join lateral (
        select
            quantity,
            value
        from unnest(decisions.feature_names, decisions.feature_values) as features (quantity, value)
        union all
        select
            'score' as quantity,
            decisions.score as value
    ) as pairs
    where pairs.value between -1e308 and 1e308
),

binned as (
    select
        read_values.model_id,
        read_values.quantity,
        width_bucket(read_values.value, distributions.edges) as bin,
        count(*) as decisions
    from read_values
    inner join distributions
        on read_values.model_id = distributions.model_id and read_values.quantity = distributions.quantity
    group by read_values.model_id, read_values.quantity, bin
),

totals as (
    select
        model_id,
        quantity,
        sum(decisions) as decisions
    from binned
    group by model_id, quantity
),

-- half a value more in each bin, as for the shares of the training data: an empty bin has no logarithm
bins as (
    select
        distributions.model_id,
        distributions.quantity,
        totals.decisions,
        (coalesce(binned.decisions, 0) + 0.5)::float8
        / (totals.decisions + 0.5 * cardinality(distributions.shares))::float8 as share_now,
        shares.share_then
    from distributions
    inner join totals
        on distributions.model_id = totals.model_id and distributions.quantity = totals.quantity
    cross join lateral unnest(distributions.shares) with ordinality as shares (share_then, place)
    left join binned
        on
            distributions.model_id = binned.model_id
            and distributions.quantity = binned.quantity
            and binned.bin = shares.place - 1
),

compared as (
    select
        model_id,
        quantity,
        sum((share_now - share_then) * ln(share_now / share_then)) as psi,
        max(decisions) as decisions
    from bins
    group by model_id, quantity
),

judged as (
    select
        distributions.model_id,
        distributions.quantity,
        coalesce(counted_bars.bars, 0) as bars,
        distributions.window_bars as wanted_bars,
        coalesce(compared.decisions, 0)::bigint as decisions,
        counted_bars.first_bar,
        counted_bars.last_bar,
        compared.psi,
        distributions.largest_psi as largest_psi_in_training,
        case
            when counted_bars.bars >= distributions.window_bars and distributions.largest_psi is not null
                then compared.psi > greatest(0.25, distributions.largest_psi)
        end as is_drifting
    from distributions
    left join counted_bars on distributions.model_id = counted_bars.model_id
    left join compared
        on distributions.model_id = compared.model_id and distributions.quantity = compared.quantity
)

select * from judged
