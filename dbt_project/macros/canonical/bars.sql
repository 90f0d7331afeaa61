{#
    Canonical bars, one SQL for all timeframes. Both macros stand in a lateral subquery beside one row `watermarks` (see
    live_watermarks): the instrument, and the newest bar of its history or nulls.

    graded_bars      what every ranked source says of the bars after the watermark, each with its verdict
    canonical_bars   of those the best ranked one that may be published, silent bars made flat, adjusted forward
#}
{% macro graded_bars(timeframe) -%}
    with splits as materialized (
        select
            execution_date,
            split_id,
            round(split_to / split_from, 12) as ratio
        from {{ ref('stg_polygon__splits') }}
        where symbol = watermarks.symbol
    ),

    received as (
        select
            bars.*,
            precedence.rank,
            precedence.volume_rank
        from {{ ref('int_vendor_bars') }} as bars
        inner join {{ ref('precedence') }} as precedence
            on
                precedence.asset_class = watermarks.asset_class
                and precedence.timeframe = '{{ timeframe }}'
                and precedence.source = bars.source
        where
            bars.symbol = watermarks.symbol
            and bars.timeframe = '{{ timeframe }}'
            {%- if timeframe == '1d' %}
            -- a vendor's day begins up to a day before the session's open
            and bars.vendor_start > coalesce(watermarks.bar_start - interval '1 day', '-infinity')
            {%- else %}
            and bars.vendor_start > coalesce(watermarks.bar_start, '-infinity')
            {%- endif %}
    ),

    located as (
        select
            received.source,
            received.rank,
            received.volume_rank,
            received.vendor_start,
            sessions.session_date,
            {%- if timeframe == '1d' %}
            sessions.open_at as bar_start,
            sessions.close_at as bar_end,
            sessions.first_bar_no as bar_no,
            {%- else %}
            date_bin({{ bar_length(timeframe) }}, received.vendor_start, sessions.open_at) as bar_start,
            least(
                date_bin({{ bar_length(timeframe) }}, received.vendor_start, sessions.open_at)
                + {{ bar_length(timeframe) }},
                sessions.close_at
            ) as bar_end,
            sessions.first_bar_no + floor(
                extract(epoch from received.vendor_start - sessions.open_at)
                / extract(epoch from {{ bar_length(timeframe) }})
            )::integer as bar_no,
            {%- endif %}
            received.open,
            received.high,
            received.low,
            received.close,
            received.volume,
            received.is_volume_estimated,
            received.revision,
            received.landed_at
        from received
        {%- if timeframe == '1d' %}
        left join {{ source('reference', 'session_bars') }} as sessions
            on
                sessions.calendar = watermarks.calendar
                and sessions.timeframe = '1d'
                and sessions.session_date = received.session_date
        where received.session_date is null or received.session_date > coalesce(watermarks.session_date, '-infinity')
        {%- else %}
        left join lateral (
            select *
            from {{ source('reference', 'session_bars') }} as session_bars
            where
                session_bars.calendar = watermarks.calendar
                and session_bars.timeframe = '{{ timeframe }}'
                and session_bars.open_at <= received.vendor_start
            order by session_bars.open_at desc
            limit 1
        ) as sessions on received.vendor_start < sessions.close_at
        {%- endif %}
    ),
    {%- if timeframe != '1m' %}

    -- a bar of minutes stands for all of them or does not exist
    aggregated as (
        select
            'aggregate' as source,
            precedence.rank,
            precedence.volume_rank,
            buckets.bar_start as vendor_start,
            buckets.session_date,
            buckets.bar_start,
            buckets.bar_end,
            buckets.bar_no,
            buckets.open,
            buckets.high,
            buckets.low,
            buckets.close,
            buckets.volume,
            buckets.is_volume_estimated,
            buckets.revision,
            buckets.landed_at,
            buckets.is_silent,
            buckets.is_late
        from (
            select
                placed.session_date,
                placed.bar_no,
                min(placed.bar_start) as bar_start,
                max(placed.bar_end) as bar_end,
                (array_agg(placed.open order by placed.minute_no))[1] as open,
                max(placed.high) as high,
                min(placed.low) as low,
                (array_agg(placed.close order by placed.minute_no desc))[1] as close,
                sum(placed.volume) as volume,
                bool_or(placed.is_volume_estimated) as is_volume_estimated,
                max(placed.revision) as revision,
                max(placed.landed_at) as landed_at,
                bool_and(placed.is_silent) as is_silent,
                (array_agg(placed.is_confirmed_late order by placed.minute_no desc))[1] as is_late,
                count(*) as minutes,
                count(placed.volume) as minutes_with_volume
            from (
                select
                    sessions.session_date,
                    {%- if timeframe == '1d' %}
                    sessions.first_bar_no as bar_no,
                    sessions.open_at as bar_start,
                    sessions.close_at as bar_end,
                    {%- else %}
                    sessions.first_bar_no + floor(
                        extract(epoch from minutes.bar_start - sessions.open_at)
                        / extract(epoch from {{ bar_length(timeframe) }})
                    )::integer as bar_no,
                    date_bin({{ bar_length(timeframe) }}, minutes.bar_start, sessions.open_at) as bar_start,
                    least(
                        date_bin({{ bar_length(timeframe) }}, minutes.bar_start, sessions.open_at)
                        + {{ bar_length(timeframe) }},
                        sessions.close_at
                    ) as bar_end,
                    {%- endif %}
                    minutes.bar_no as minute_no,
                    minutes.open,
                    minutes.high,
                    minutes.low,
                    minutes.close,
                    minutes.volume,
                    minutes.is_silent,
                    minutes.is_volume_estimated,
                    minutes.is_confirmed_late,
                    minutes.revision,
                    minutes.landed_at
                from {{ ref('ohlcv_1m') }} as minutes
                inner join {{ source('reference', 'session_bars') }} as sessions
                    on
                        sessions.calendar = watermarks.calendar
                        and sessions.timeframe = '{{ timeframe }}'
                        and sessions.session_date = minutes.session_date
                where
                    minutes.symbol = watermarks.symbol
                    and minutes.bar_start >= coalesce(watermarks.bar_end, '-infinity')
            ) as placed
            group by placed.session_date, placed.bar_no
        ) as buckets
        inner join {{ ref('precedence') }} as precedence
            on
                precedence.asset_class = watermarks.asset_class
                and precedence.timeframe = '{{ timeframe }}'
                and precedence.source = 'aggregate'
        where
            buckets.minutes = ceil(extract(epoch from buckets.bar_end - buckets.bar_start) / 60)
            and buckets.minutes_with_volume in (0, buckets.minutes)
    ),
    {%- endif %}

    judged as (
        select
            *,
            false as is_silent,
            false as is_late,
            case
                when bar_start is null then 'outside any session'
                {%- if timeframe != '1d' %}
                when vendor_start <> bar_start then 'off the grid of bars'
                {%- endif %}
                when landed_at < bar_end then 'unfinished bar'
                when least(open, high, low, close) <= 0 then 'non-positive price'
                when high < greatest(open, low, close) then 'high is not the highest'
                when low > least(open, high, close) then 'low is not the lowest'
                when volume < 0 then 'negative volume'
            end as fault
        from located
    ),

    -- in the first session's shares, so that prices of different sessions can be compared
    in_shares as (
        select
            judged.*,
            {{ share_factor('judged.session_date') }} as share_factor,
            coalesce(price_limits.largest_move, 'infinity')::float8 as largest_move,
            false as is_level
        from judged
        left join {{ ref('price_limits') }} as price_limits
            on price_limits.asset_class = watermarks.asset_class and price_limits.timeframe = '{{ timeframe }}'
        where judged.fault is null
        {%- if timeframe != '1m' %}
        union all
        select
            aggregated.*,
            null as fault,
            {{ share_factor('aggregated.session_date') }} as share_factor,
            'infinity'::float8 as largest_move,
            false as is_level
        from aggregated
        {%- endif %}
        union all
        -- the newest bar of the history is the level that the next price is compared with
        select
            '' as source, 0 as rank, 0 as volume_rank, watermarks.bar_start as vendor_start, watermarks.session_date,
            watermarks.bar_start, watermarks.bar_end, watermarks.bar_no, watermarks.open, watermarks.close as high,
            watermarks.close as low, watermarks.close, null as volume, false as is_volume_estimated, 0 as revision,
            watermarks.landed_at, false as is_silent, false as is_late, null as fault,
            {{ share_factor('watermarks.session_date') }} as share_factor,
            'infinity'::float8 as largest_move,
            true as is_level
        where watermarks.bar_no is not null
    ),

    compared as (
        select
            *,
            (high * share_factor)::float8 as share_high,
            (low * share_factor)::float8 as share_low,
            (close * share_factor)::float8 as share_close,
            lead(bar_no) over by_source = bar_no + 1
            and {{ opens_near('lead((open * share_factor)::float8) over by_source') }} as goes_on,
            -- a first bar has nothing before it: one of the next three has to open near its close
            {%- for distance in (1, 2, 3) %}
            coalesce({{ opens_near('lead((open * share_factor)::float8, ' ~ distance ~ ') over by_source') }}, false)
            {%- if not loop.last %} or{% else %} as is_followed{% endif %}
            {%- endfor %}
        from in_shares
        window by_source as (partition by source order by bar_no)
    ),

    -- a price is confirmed by what other sources say of the same bar; where there are none, by the next bar's open
    witnessed as (
        select
            *,
            case
                when is_level then true
                when count(*) over others > 0 then
                    max(share_high) over others * largest_move >= share_high
                    and min(share_low) over others <= share_low * largest_move
                else goes_on is true
            end as has_witness,
            count(*) over others = 0 as is_alone
        from compared
        window others as (
            partition by bar_no order by rank
            rows between unbounded preceding and unbounded following exclude current row
        )
    ),

    checked as (
        select
            *,
            canonical.check_price(
                bar_no, share_high, share_low, share_close, largest_move, has_witness, is_followed
            ) over (order by bar_no, rank) as price_check
        from witnessed
    ),

    graded as (
        select
            source, rank, volume_rank, vendor_start, session_date, bar_start, bar_end, bar_no, open, high, low, close,
            volume, is_volume_estimated, revision, landed_at, is_silent,
            is_late or ((price_check).needed_witness and is_alone) as is_late,
            (price_check).verdict as quarantine_reason
        from checked
        where not is_level
        union all
        select
            source, rank, volume_rank, vendor_start, session_date, bar_start, bar_end, bar_no, open, high, low, close,
            volume, is_volume_estimated, revision, landed_at, is_silent, is_late, fault as quarantine_reason
        from judged
        where fault is not null
    )

    select * from graded
{%- endmacro %}


{% macro canonical_bars(timeframe) -%}
    with graded as materialized (
        {{ graded_bars(timeframe) }}
    ),

    accepted as (
        select
            *,
            first_value(volume) over best_volume as best_volume,
            first_value(source) over best_volume as volume_source,
            first_value(is_volume_estimated) over best_volume as is_best_volume_estimated
        from graded
        where quarantine_reason is null
        window best_volume as (partition by bar_no order by volume is null, volume_rank)
    ),

    chosen as (
        select distinct on (bar_no)
            bar_start,
            bar_end,
            session_date,
            bar_no,
            open,
            high,
            low,
            close,
            best_volume as volume,
            source,
            case when best_volume is not null then volume_source end as volume_source,
            revision,
            is_silent,
            best_volume is not null and is_best_volume_estimated as is_volume_estimated,
            is_late as is_confirmed_late,
            landed_at
        from accepted
        order by bar_no asc, rank asc
    ),

    -- expected bars between and after those that anyone sent a row for
    holes as (
        select
            known.bar_no + 1 as first_bar_no,
            coalesce(
                lead(known.bar_no) over (order by known.bar_no),
                reference.bars_ended(watermarks.calendar, '{{ timeframe }}', answered.until) + 1
            ) - 1 as last_bar_no,
            answered.windows,
            answered.asked_at
        from (
            select watermarks.bar_no where watermarks.bar_no is not null
            union
            select bar_no from graded where bar_no is not null
        ) as known
        cross join (
            {{ answered_windows("'" ~ timeframe ~ "'", 'watermarks.symbol', 'watermarks.bar_start') }}
        ) as answered
    ),

    silent as (
        select
            bars.bar_start,
            bars.bar_end,
            bars.session_date,
            bars.bar_no,
            holes.asked_at
        from holes
        cross join lateral (
            {{ expected_bars(timeframe, 'watermarks.calendar', 'holes.first_bar_no', 'holes.last_bar_no') }}
        ) as bars
        where
            holes.last_bar_no >= holes.first_bar_no
            and tstzrange(bars.bar_start, bars.bar_end) <@ holes.windows
            and not {{ is_halted('watermarks.calendar', 'watermarks.symbol', 'bars.bar_start', 'bars.bar_end') }}
    ),

    -- the newest row of the history stands first: it holds the previous close and the factors so far
    series as (
        select
            watermarks.bar_start, watermarks.bar_end, watermarks.session_date, watermarks.bar_no,
            watermarks.open, watermarks.high, watermarks.low, watermarks.close, watermarks.volume,
            watermarks.source, watermarks.volume_source, watermarks.revision, watermarks.is_silent,
            watermarks.is_volume_estimated, watermarks.is_confirmed_late, watermarks.landed_at
        where watermarks.bar_start is not null
        union all
        select * from chosen
        union all
        select
            bar_start, bar_end, session_date, bar_no, null, null, null, null, 0, null, null, 0,
            true, false, false, asked_at
        from silent
    ),

    with_previous as (
        select
            *,
            lag(session_date) over (order by bar_no) as previous_date
        from series
    ),

    -- an action takes effect with the first bar on or after its date, also when that day's own bar is missing
    with_actions as (
        select
            with_previous.*,
            coalesce(splits.ratio, 1) as split_ratio,
            coalesce(dividends.cash, 0) as dividend
        from with_previous
        left join lateral (
            select canonical.product(round(splits.split_to / splits.split_from, 12) order by splits.split_id) as ratio
            from {{ ref('stg_polygon__splits') }} as splits
            where
                with_previous.previous_date < with_previous.session_date
                and splits.symbol = watermarks.symbol
                and splits.execution_date > with_previous.previous_date
                and splits.execution_date <= with_previous.session_date
        ) as splits on true
        left join lateral (
            select sum(dividends.cash_amount) as cash
            from {{ ref('stg_polygon__dividends') }} as dividends
            where
                with_previous.previous_date < with_previous.session_date
                and dividends.symbol = watermarks.symbol
                and dividends.ex_dividend_date > with_previous.previous_date
                and dividends.ex_dividend_date <= with_previous.session_date
        ) as dividends on true
    ),

    with_shares as (
        select
            *,
            canonical.compound(
                case when bar_no = watermarks.bar_no then watermarks.split_factor else split_ratio end
            ) over (order by bar_no) as split_factor
        from with_actions
    ),

    -- a silent bar repeats the last close, in its own day's shares
    filled as (
        select
            *,
            coalesce(
                close,
                round(canonical.newest(close * split_factor) over (order by bar_no) / split_factor, 10)
            ) as last_close
        from with_shares
    ),

    with_steps as (
        select
            *,
            lag(last_close) over (order by bar_no) as previous_close
        from filled
    ),

    with_factors as (
        select
            *,
            canonical.compound(
                case
                    when bar_no = watermarks.bar_no then watermarks.adjustment_factor
                    when previous_close is null then 1::numeric
                    else round(
                        split_ratio * (previous_close / split_ratio) / (previous_close / split_ratio - dividend), 18
                    )
                end
            ) over (order by bar_no) as adjustment_factor
        from with_steps
    ),

    adjusted as (
        select
            bar_start,
            bar_end,
            session_date,
            bar_no,
            coalesce(open, last_close) as open,
            coalesce(high, last_close) as high,
            coalesce(low, last_close) as low,
            last_close as close,
            volume,
            split_factor,
            adjustment_factor,
            round(coalesce(open, last_close) * adjustment_factor, watermarks.price_decimals) as adj_open,
            round(coalesce(high, last_close) * adjustment_factor, watermarks.price_decimals) as adj_high,
            round(coalesce(low, last_close) * adjustment_factor, watermarks.price_decimals) as adj_low,
            round(last_close * adjustment_factor, watermarks.price_decimals) as adj_close,
            round(volume / split_factor, 8) as adj_volume,
            source,
            volume_source,
            revision,
            is_silent,
            is_volume_estimated,
            is_confirmed_late,
            landed_at
        from with_factors
        where (watermarks.bar_no is null or bar_no > watermarks.bar_no) and last_close is not null
    )

    select * from adjusted
{%- endmacro %}


{# Product of the split ratios up to a session: a price times it is in the first session's shares. Reads `splits`. #}
{% macro share_factor(session_date) -%}
    case
        when exists (select 1 from splits) then (
            select canonical.product(splits.ratio order by splits.execution_date, splits.split_id)
            from splits
            where splits.execution_date <= {{ session_date }}
        )
        else 1
    end
{%- endmacro %}


{# Whether trading stood still in some of a stretch of time: then nobody's silence tells anything. #}
{% macro is_halted(calendar, symbol, starting_at, ending_at) -%}
    exists (
                select 1
                from {{ ref('trading_halts') }} as halts
                where
                    halts.calendar = {{ calendar }}
                    and coalesce(halts.symbol, {{ symbol }}) = {{ symbol }}
                    and halts.halt_start < {{ ending_at }}
                    and halts.halt_end > {{ starting_at }}
            )
{%- endmacro %}


{# A later open, as near to this bar's close as a price may move. #}
{% macro opens_near(open) -%}
    {{ open }} between (close * share_factor)::float8 / largest_move and (close * share_factor)::float8 * largest_move
{%- endmacro %}


{# The length of a bar as an interval; a day's bar is its session. #}
{% macro bar_length(timeframe) -%}
    {%- set lengths = {
        '1m': '1 minute', '5m': '5 minutes', '15m': '15 minutes', '1h': '1 hour', '4h': '4 hours', '1d': '24 hours'
    } -%}
    interval '{{ lengths[timeframe] }}'
{%- endmacro %}


{# The bars of a calendar whose ordinals lie between two: (bar_start, bar_end, session_date, bar_no). #}
{% macro expected_bars(timeframe, calendar, first_bar_no, last_bar_no) -%}
    select
        sessions.open_at + (numbers.bar_no - sessions.first_bar_no) * sessions.length as bar_start,
        least(
            sessions.open_at + (numbers.bar_no - sessions.first_bar_no + 1) * sessions.length, sessions.close_at
        ) as bar_end,
        sessions.session_date,
        numbers.bar_no
    from {{ source('reference', 'session_bars') }} as sessions
    cross join lateral reference.bar_numbers(
        greatest({{ first_bar_no }}, sessions.first_bar_no),
        least({{ last_bar_no }}, sessions.first_bar_no + sessions.bar_count - 1)
    ) as numbers (bar_no)
    where
        sessions.calendar = {{ calendar }}
        and sessions.timeframe = '{{ timeframe }}'
        and sessions.first_bar_no <= {{ last_bar_no }}
        and sessions.first_bar_no > {{ first_bar_no }} - 1440
        and sessions.first_bar_no + sessions.bar_count > {{ first_bar_no }}
{%- endmacro %}


{#
    The windows after a moment in which every ranked vendor of a symbol has answered, as one multirange, its end, and when
    the last of them was asked. No row if a vendor never was, or if none is ranked.
#}
{% macro answered_windows(timeframe, symbol, after) -%}
    select
        range_intersect_agg(sources.windows) as windows,
        upper(range_intersect_agg(sources.windows)) as until,
        max(sources.asked_at) as asked_at
    from (
        select
            ranked.source,
            -- a vendor that was never asked has no row here, and a range without bounds would be all of time
            range_agg(tstzrange(coverage.window_start, coverage.window_end))
            filter (where coverage.source is not null) as windows,
            max(coverage.asked_at) as asked_at
        from {{ ref('int_ranked_vendors') }} as ranked
        left join {{ source('raw', 'coverage') }} as coverage
            on
                ranked.symbol = coverage.symbol
                and ranked.timeframe = coverage.timeframe
                and ranked.source = coverage.source
                and coverage.dataset = 'bars'
                and coverage.window_end > coalesce({{ after }}, '-infinity')
                and canonical.was_known(coverage.asked_at)
        where
            ranked.symbol = {{ symbol }}
            and ranked.timeframe = {{ timeframe }}
            -- who tells no volume cannot tell that there was none
            and ranked.volume_rank is not null
        group by ranked.source
    ) as sources
    having bool_and(sources.windows is not null)
{%- endmacro %}
