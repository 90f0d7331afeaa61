{#
    The features of one timeframe: what the groups declare, computed from the bars of `bars` by as many passes as the
    dependencies need. All rows of a pass are one symbol's bars in order; rows before the watermark take part in windows only:
    they get no ordinal (bar_count), and recursions pass over them.

    `offset 0` keeps the planner from merging a step into the next one, where it would compute each expression anew for
    every use. A step passes on what a later one uses and nothing else. A window decodes its rows up to the last column that
    it needs, so what its frames read stands first, and before all what a frame without a way back reads again for each row.
#}
{% macro features_model(bars) -%}
{%- set columns = {} -%}
{%- for name, column in model.columns.items() if execute and column.meta.group -%}
    {%- do columns.update({name: column}) -%}
{%- endfor -%}
with watermarks as (
    {{ live_watermarks() }}
)

select
    watermarks.symbol,
    tail.*
from watermarks
{{ features_tail(bars, config.get('lookback'), columns) }}
{%- endmacro %}


{# What stands beside one row `watermarks`. Without columns it is what every feature shares. #}
{% macro features_tail(bars, lookback, columns) -%}
{%- set library = feature_library().declared -%}
{%- set features, levels = [], [] -%}
{%- for name, column in columns.items() -%}
    {%- do (levels if column.meta.group == 'level' else features).append(name) -%}
{%- endfor -%}
{%- set needed = resolve(
    features + levels + ['first_bar_newest', 'first_volume_newest', 'first_benchmark_newest'], library, []
) -%}
{%- set last_used = last_uses(needed, library, levels) -%}
cross join lateral (
    select
        10::numeric ^ watermarks.price_decimals as price_scale,
        10::float8 ^ watermarks.price_decimals as price_unit,
        watermarks.lot_size::float8 as lot_size,
        pairs.read_symbol as benchmark
    from (select watermarks.symbol) as instrument
    left join {{ ref('int_benchmarks') }} as pairs on instrument.symbol = pairs.symbol
    offset 0
) as units
cross join lateral (
    -- the lookback before the watermark, the watermark itself, and every bar after it; the benchmark's come along, because
    -- a second reading of a live relation costs as much as the first
    with read_bars as materialized (
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
    ),

    scaled as (
        select
            {{- list_declared(bar_columns()) }}
            bars.bar_no
        from read_bars as bars
        left join read_bars as benchmark on benchmark.is_benchmark and benchmark.bar_no = bars.bar_no
        where bars.is_own
        offset 0
    ),

    bars as (
        select
            {{- list_declared(bar_quantities()) }}
            *,
            bar_no = watermarks.bar_no as is_watermark,
            watermarks.bar_no is null or bar_no > watermarks.bar_no as is_after
        from scaled
        offset 0
    ),

    counted as (
        select
            {{- windows_of_step(0.5, needed) }}
            coalesce(watermarks.bar_count, 0) + case
                when is_watermark then 0
                when is_after then count(*) filter (where is_after) over bars_in_order
            end as bar_count,
            {{- passed_on(0.5, needed, last_used) }}
            bar_start, session_date, is_confirmed_late, is_watermark, is_after, bar_no
        from bars
        window bars_in_order as (order by bar_no)
    ),

    measured as (
        select
            {{- scalars_of_step(1, needed, library) }}
            {{- passed_on(1, needed, last_used) }}
            bar_start, session_date, is_confirmed_late, is_watermark, is_after, bar_count, bar_no
        from counted
        offset 0
    ),

    summable as (
        select
            {{- scalars_of_step(2, needed, library) }}
            {{- passed_on(2, needed, last_used) }}
            bar_start, session_date, is_confirmed_late, is_watermark, is_after, bar_count, bar_no
        from measured
        offset 0
    ),

    summed as (
        select
            {{- windows_of_step(3, needed) }}
            {{- scalars_of_step(3, needed, library) }}
            {{- passed_on(3, needed, last_used) }}
            bar_start, session_date, is_confirmed_late, is_watermark, is_after, bar_count, bar_no
        from summable
        {{ window_clauses(3, needed) }}
    ),

    computed as (
        select
            {{- scalars_of_step(4, needed, library) }}
            bar_no - first_bar_newest + 1 as bars_in_row,
            bar_no - first_volume_newest + 1 as volumes_in_row,
            bar_no - first_benchmark_newest + 1 as benchmarks_in_row,
            {{- passed_on(4, needed, last_used) }}
            bar_start, session_date, is_confirmed_late, is_watermark, is_after, bar_count, bar_no
        from summed
        offset 0
    ),

    smoothed as (
        select
            {{- windows_of_step(5, needed) }}
            {{- scalars_of_step(5, needed, library) }}
            {{- passed_on(5, needed, last_used) }}
            bar_start, session_date, is_confirmed_late, is_watermark, is_after, bars_in_row, volumes_in_row,
            benchmarks_in_row, bar_count, bar_no
        from computed
        {{ window_clauses(5, needed) }}
    ),

    in_session as (
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
    ),

    described as (
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
            {% if library[name].step in (3, 5) -%} {{ name }} {%- else -%} {{ feature_expression(name, columns[name], needed[name], name) }} as {{ name }} {%- endif %}
            {%- endfor %}
        from in_session
    )

    select * from described
) as tail
{%- endmacro %}


{# A feature is null unless the bars of its lookback are consecutive, with volume or benchmark where it needs them. #}
{% macro feature_expression(name, column, needed, expression) -%}
    {%- set rows = 'volumes_in_row' if 'lots' in needed.reach or 'volume' in needed.reach else 'bars_in_row' -%}
    case
                when {{ rows }} >= {{ column.meta.lookback }}
                {%- if 'benchmark_close' in needed.reach %} and benchmarks_in_row >= {{ column.meta.lookback }}{% endif %} then {{ expression }}
            end::float8
{%- endmacro %}


{% macro list_declared(text) -%}
    {%- for name, expression in read_declarations(text).found.items() %}
            {{ expression }} as {{ name }},
    {%- endfor %}
{%- endmacro %}


{% macro scalars_of_step(step, needed, library) -%}
    {%- for name, quantity in needed.items() if quantity.step == step and not quantity.window %}
            {{ library[name].expression | replace('stored_state', 'watermarks.' ~ name) }} as {{ name }},
    {%- endfor %}
{%- endmacro %}


{% macro windows_of_step(step, needed) -%}
    {%- for is_read_again in (true, false) -%}
        {%- for name, quantity in needed.items() if quantity.step == step and quantity.window -%}
            {%- if (quantity.window.kind in ('mean', 'sd', 'max', 'min')) == is_read_again %}
            {{ window_function(quantity.window) }} as {{ name }},
            {%- endif -%}
        {%- endfor -%}
    {%- endfor -%}
{%- endmacro %}


{# {name: the last step that names it}. #}
{% macro last_uses(needed, library, levels) -%}
    {%- set last = {'first_bar_newest': 4, 'first_volume_newest': 4, 'first_benchmark_newest': 4} -%}
    {%- for name, quantity in needed.items() -%}
        {%- set inputs = [quantity.window.of] if quantity.window else names_in(library[name].expression) if name in library else [] -%}
        {%- for input in inputs -%}
            {%- do last.update({input: [last.get(input, 0), quantity.step] | max}) -%}
        {%- endfor -%}
    {%- endfor -%}
    {%- for name in levels -%} {%- do last.update({name: 6}) -%} {%- endfor -%}
    {{ return(last) }}
{%- endmacro %}


{# What was computed before a step and is named after it, but for the columns that every step passes on. #}
{% macro passed_on(step, needed, last_used) -%}
    {%- set always = given_quantities() + ['bar_start', 'session_date', 'is_confirmed_late'] -%}
    {%- for name, quantity in needed.items() if quantity.step < step and last_used.get(name, 0) > step and name not in always %}
            {{ name }},
    {%- endfor %}
{%- endmacro %}


{% macro window_function(window) -%}
    {%- set calls = {
        'ago': 'lag(' ~ window.of ~ ', ' ~ window.rows ~ ') over bars_in_order',
        'before': 'features.moving_sum(' ~ window.of ~ ') over (order by bar_no rows between ' ~ window.rows ~ ' preceding and 1 preceding)',
        'sum': 'features.moving_sum(' ~ window.of ~ ') over last_' ~ window.rows,
        'mean': 'sum(' ~ window.of ~ ') over last_' ~ window.rows ~ ' / ' ~ window.rows,
        'sd': 'stddev_pop(' ~ window.of ~ ') over last_' ~ window.rows,
        'max': 'max(' ~ window.of ~ ') over last_' ~ window.rows,
        'min': 'min(' ~ window.of ~ ') over last_' ~ window.rows,
        'total': 'features.moving_sum(' ~ window.of ~ ') over bars_in_order',
        'newest': 'max(' ~ window.of ~ ') over bars_in_order',
    } -%}
    {{ return(calls[window.kind] ~ ('::float8' if window.kind in ('sum', 'total') else '')) }}
{%- endmacro %}


{% macro window_clauses(step, needed) -%}
    {%- set lengths = [] -%}
    {%- for quantity in needed.values() if quantity.step == step and quantity.window and quantity.window.kind in ('sum', 'mean', 'sd', 'max', 'min') -%}
        {%- do lengths.append(quantity.window.rows) -%}
    {%- endfor -%}
    window
            bars_in_order as (order by bar_no)
            {%- for rows in lengths | unique | sort %},
            last_{{ rows }} as (order by bar_no rows between {{ rows - 1 }} preceding and current row)
            {%- endfor %}
{%- endmacro %}
