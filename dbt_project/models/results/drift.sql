with recursive decisions as not materialized (
    select
        model_id,
        symbol,
        bar_start,
        feature_names,
        feature_values,
        score
    from {{ ref('stg_ledger__decisions') }}
    union all
    select
        model_id,
        symbol,
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

universes as (
    select
        models.model_id,
        hypotheses.content ->> 'universe' as universe
    from {{ ref('stg_research__models') }} as models
    inner join {{ ref('stg_research__hypotheses') }} as hypotheses on models.hypothesis_id = hypotheses.hypothesis_id
),

models as (
    select
        distributions.model_id,
        universes.universe,
        max(distributions.window_bars) as window_bars
    from distributions
    left join universes on distributions.model_id = universes.model_id
    group by distributions.model_id, universes.universe
),

-- one bar after another down the index, whatever came before the window
numbered_bars as (
    select
        model_id,
        universe,
        'infinity'::timestamptz as bar_start,
        window_bars as bars_left
    from models
    union all
    select
        newer.model_id,
        newer.universe,
        greatest(
            (
                select decisions.bar_start
                from {{ ref('stg_ledger__decisions') }} as decisions
                where decisions.model_id = newer.model_id and decisions.bar_start < newer.bar_start
                order by decisions.bar_start desc
                limit 1
            ),
            (
                select decisions.bar_start
                from {{ ref('stg_ledger__shadow_decisions') }} as decisions
                where decisions.model_id = newer.model_id and decisions.bar_start < newer.bar_start
                order by decisions.bar_start desc
                limit 1
            )
        ) as bar_start,
        newer.bars_left - 1 as bars_left
    from numbered_bars as newer
    where newer.bars_left > 0 and newer.bar_start is not null
),

newest_bars as (
    select
        model_id,
        universe,
        bar_start
    from numbered_bars
    where isfinite(bar_start)
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

-- bar by bar, which the order is for: the planner takes few bars for many, and would read the decisions of all time
read_values as materialized (
    select
        newest_bars.model_id,
        pairs.quantity,
        pairs.amount
    from newest_bars
    inner join lateral (
        select
            decisions.feature_names,
            decisions.feature_values,
            decisions.score
        from decisions
        where
            decisions.model_id = newest_bars.model_id
            and decisions.bar_start = newest_bars.bar_start
            -- who has left the universe is sold at a score of 0, and was left out of the training
            and (
                newest_bars.universe is null
                or exists (
                    select 1
                    from {{ ref('universes') }} as members
                    where
                        members.universe = newest_bars.universe
                        and members.symbol = decisions.symbol
                        and (decisions.bar_start at time zone 'UTC')::date >= coalesce(members.valid_from, '-infinity')
                        and (decisions.bar_start at time zone 'UTC')::date < coalesce(members.valid_to, 'infinity')
                )
            )
        order by decisions.bar_start
    ) as decided on true
    inner join lateral (
        select
            quantity,
            amount
        from unnest(decided.feature_names, decided.feature_values) as features (quantity, amount)
        union all
        select
            'score' as quantity,
            decided.score as amount
    ) as pairs on true
    where pairs.amount between -1e308 and 1e308
),

binned as (
    select
        read_values.model_id,
        read_values.quantity,
        width_bucket(read_values.amount, distributions.edges) as bin,
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
        training.share_then
    from distributions
    inner join totals
        on distributions.model_id = totals.model_id and distributions.quantity = totals.quantity
    cross join lateral unnest(distributions.shares) with ordinality as training (share_then, place)
    left join binned
        on
            distributions.model_id = binned.model_id
            and distributions.quantity = binned.quantity
            and binned.bin = training.place - 1
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
            when
                counted_bars.bars >= distributions.window_bars
                and compared.decisions >= distributions.window_rows / 2.0
                then compared.psi > greatest(0.25, distributions.largest_psi)
        end as is_drifting
    from distributions
    left join counted_bars on distributions.model_id = counted_bars.model_id
    left join compared
        on distributions.model_id = compared.model_id and distributions.quantity = compared.quantity
)

select * from judged
