{# What every feature starts from and ends with: the bars of the lookback, and the rows that come out. #}

{#
    The instrument's lot, and the benchmark that it is compared with. One that nobody ever sent a bar of is compared with none:
    it would read the benchmark's bars from the first on. That decides no value, so no fingerprint knows it.
#}
{% macro instrument_units(columns) -%}
    {%- set was_ever_sent = was_sent() if columns or not execute -%}
    select
        watermarks.lot_size::float8 as lot_size,
        pairs.read_symbol as benchmark
    from (select watermarks.symbol) as instrument
    left join {{ ref('int_benchmarks') }} as pairs
        on instrument.symbol = pairs.symbol {%- if columns %} and (watermarks.bar_no is not null or {{ was_ever_sent }}){% endif %}
    offset 0
{%- endmacro %}


{#
    The lookback before the watermark, the watermark itself, and every bar after it. The benchmark's come along, because a
    second reading of a live relation costs as much as the first.
#}
{% macro bars_from_lookback(bars, lookback) %}
        select
            -- flags, because the planner takes a name to be one of hundreds here, and would join row by row
            symbol = watermarks.symbol as is_own,
            coalesce(symbol = units.benchmark, false) as is_benchmark,
            {%- for name in modules.re.findall('(?:bars|benchmark)\\.(\\w+)', bar_columns()) | unique %}
            {{ name }},
            {%- endfor %}
            bar_no
        from {{ bars }}
        where
            symbol in (watermarks.symbol, units.benchmark)
            and bar_no >= coalesce(watermarks.bar_no - {{ lookback }}, 0)
    {% endmacro %}


{#
    The instrument's bars, each beside its benchmark's. Where none is after the watermark there are none at all: without
    that, a tail of no rows would cost as many passes over the lookback as one of a single row. The condition decides no
    value, so it is left out of what every feature shares, and no fingerprint knows it.
#}
{% macro bars_beside_benchmark(columns) %}
        select
            {{- list_declared(bar_columns()) }}
            bars.bar_no,
            bars.bar_no = watermarks.bar_no as is_watermark,
            watermarks.bar_no is null or bars.bar_no > watermarks.bar_no as is_after
        from read_bars as bars
        left join read_bars as benchmark on benchmark.is_benchmark and benchmark.bar_no = bars.bar_no
        where bars.is_own
        {%- if columns %}
            and exists (
                select 1 from read_bars as newer
                where newer.is_own and (watermarks.bar_no is null or newer.bar_no > watermarks.bar_no)
            )
        {%- endif %}
        offset 0
    {% endmacro %}


{# What a bar was some rows ago, and how many bars there have been. #}
{% macro bars_counted(needed, library, last_used) %}
        {%- set passes = feature_passes() %}
        select
            {{- windows_of_pass(passes.counted, needed, library) }}
            coalesce(watermarks.bar_count, 0) + case
                when is_watermark then 0
                when is_after then count(*) filter (where is_after) over bars_in_order
            end as bar_count,
            {{- passed_on(passes.counted, needed, last_used, library) }}
            bar_start, session_date, is_confirmed_late, is_watermark, is_after, bar_no
        from bars
        {{ window_clauses(passes.counted, needed) }}
    {% endmacro %}


{# How many bars follow each other without a break, by what the break is in: {column: the newest break's ordinal}. #}
{% macro newest_breaks() -%}
    {{ return({
        'bars_in_row': 'first_bar_newest',
        'ranges_in_row': 'first_range_newest',
        'volumes_in_row': 'first_volume_newest',
        'benchmarks_in_row': 'first_benchmark_newest',
    }) }}
{%- endmacro %}


{% macro bars_in_row(needed, library, last_used) %}
        {%- set passes = feature_passes() %}
        select
            {{- scalars_of_pass(passes.computed, needed, library) }}
            {%- for name, newest_break in newest_breaks().items() %}
            bar_no - {{ newest_break }} + 1 as {{ name }},
            {%- endfor %}
            {{- passed_on(passes.computed, needed, last_used, library) }}
            bar_start, session_date, is_confirmed_late, is_watermark, is_after, bar_count, bar_no
        from summed
        where bar_no >= coalesce(watermarks.bar_no - {{ rows_back_from(passes.computed, needed, library) }}, 0)
        offset 0
    {% endmacro %}


{# The rows after the watermark, with their session. #}
{% macro bars_in_session() %}
        select
            smoothed.*,
            sessions.open_at as session_open,
            sessions.close_at as session_close
        from smoothed
        left join lateral (
            select
                trading_sessions.open_at,
                trading_sessions.close_at
            from {{ source('reference', 'trading_sessions') }} as trading_sessions
            where
                trading_sessions.calendar = watermarks.calendar
                and trading_sessions.session_date = smoothed.session_date
            offset 0
        ) as sessions on true
        where smoothed.is_after
        offset 0
    {% endmacro %}


{# The columns of the model. A level is stored as it is where a recursion or window yields it. #}
{% macro described_bars(lookback, features, levels, columns, needed, library) %}
        {%- set passes = feature_passes() %}
        select
            bar_start,
            bar_no,
            bar_count,
            -- a bar that could only be known later than its own end decides nothing
            coalesce(bars_in_row > {{ lookback }} and bar_count > {{ lookback }}, false)
                and is_confirmed_late is not true as is_ready
            {%- for name in features %},
            {{ feature_expression(name, columns[name], needed[name], library[name].expression) }} as {{ name }}
            {%- endfor %}
            {%- for name in levels %},
            {% if library[name].step in (passes.spanned, passes.smoothed) -%} {{ name }} {%- else -%} {{ feature_expression(name, columns[name], needed[name], name) }} as {{ name }} {%- endif %}
            {%- endfor %}
        from in_session
        offset 0
    {% endmacro %}
