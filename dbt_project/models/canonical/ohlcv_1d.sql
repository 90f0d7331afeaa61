{{ config(
    materialized='live',
    changes_from=['int_changes_1d'],
    indexes=[{'columns': ['symbol', 'bar_no'], 'unique': True}],
) }}
-- depends_on: {{ ref('int_changes_1d') }}

with watermarks as (
    {{ live_watermarks() }}
)

select
    watermarks.symbol,
    tail.*
from watermarks
cross join lateral (
    -- the last row of the history stands first: it holds the previous close and the factors so far
    with bars as (
        select
            watermarks.bar_start,
            watermarks.bar_end,
            watermarks.session_date,
            watermarks.bar_no,
            watermarks.open,
            watermarks.high,
            watermarks.low,
            watermarks.close,
            watermarks.volume,
            watermarks.source,
            watermarks.landed_at
        where watermarks.bar_start is not null
        union all
        select
            graded.bar_start,
            graded.bar_end,
            graded.session_date,
            graded.bar_no,
            graded.open,
            graded.high,
            graded.low,
            graded.close,
            graded.volume,
            graded.source,
            graded.landed_at
        from {{ ref('int_bars_1d__graded') }} as graded
        where
            graded.symbol = watermarks.symbol
            and graded.quarantine_reason is null
            and graded.bar_start > coalesce(watermarks.bar_start, '-infinity')
            and graded.vendor_start > coalesce(watermarks.bar_start - interval '1 day', '-infinity')
    ),

    with_previous as (
        select
            *,
            lag(close) over (order by bar_start) as previous_close,
            lag(session_date) over (order by bar_start) as previous_date
        from bars
    ),

    -- an action takes effect with the first bar on or after its date, also when that day's own bar is missing
    with_actions as (
        select
            with_previous.*,
            splits.ratio as split_ratio,
            coalesce(dividends.cash, 0) as dividend
        from with_previous
        left join lateral (
            select canonical.product(round(splits.split_to / splits.split_from, 12) order by splits.split_id) as ratio
            from {{ ref('stg_polygon__splits') }} as splits
            where
                splits.symbol = watermarks.symbol
                and splits.execution_date > with_previous.previous_date
                and splits.execution_date <= with_previous.session_date
        ) as splits on true
        left join lateral (
            select sum(dividends.cash_amount) as cash
            from {{ ref('stg_polygon__dividends') }} as dividends
            where
                dividends.symbol = watermarks.symbol
                and dividends.ex_dividend_date > with_previous.previous_date
                and dividends.ex_dividend_date <= with_previous.session_date
        ) as dividends on true
    ),

    with_steps as (
        select
            *,
            case
                when previous_close is null then 1::numeric
                else round(
                    split_ratio * (previous_close / split_ratio) / (previous_close / split_ratio - dividend), 18
                )
            end as adjustment_step
        from with_actions
    ),

    with_factors as (
        select
            *,
            canonical.compound(
                case when bar_start = watermarks.bar_start then watermarks.split_factor else split_ratio end
            ) over (order by bar_start) as split_factor,
            canonical.compound(
                case when bar_start = watermarks.bar_start then watermarks.adjustment_factor else adjustment_step end
            ) over (order by bar_start) as adjustment_factor
        from with_steps
    ),

    adjusted as (
        select
            bar_start,
            bar_end,
            session_date,
            bar_no,
            open,
            high,
            low,
            close,
            volume,
            split_factor,
            adjustment_factor,
            round(open * adjustment_factor, watermarks.price_decimals) as adj_open,
            round(high * adjustment_factor, watermarks.price_decimals) as adj_high,
            round(low * adjustment_factor, watermarks.price_decimals) as adj_low,
            round(close * adjustment_factor, watermarks.price_decimals) as adj_close,
            round(volume / split_factor, 8) as adj_volume,
            source,
            landed_at
        from with_factors
        where watermarks.bar_start is null or bar_start > watermarks.bar_start
    )

    select * from adjusted
) as tail
