{#
    The passes over a symbol's bars. A quantity is computed in the first pass after those of all its inputs; a window needs
    a pass of its own kind, because its inputs must be finished before it starts.
#}

{# {name: its place in the order}. #}
{% macro feature_passes() -%}
    {{ return({
        'given': 0,      'scaled': 1,    'bars': 2,      'counted': 3,   'measured': 4,
        'summable': 5,   'summed': 6,    'computed': 7,  'smoothed': 8,  'described': 9,
    }) }}
{%- endmacro %}


{# A pass of scalar expressions. #}
{% macro pass_without_windows(step, previous, needed, library, last_used) %}
        select
            {{- scalars_of_pass(step, needed, library) }}
            {{- passed_on(step, needed, last_used) }}
            bar_start, session_date, is_confirmed_late, is_watermark, is_after, bar_count, bar_no
        from {{ previous }}
        offset 0
    {% endmacro %}


{# A pass of windows and recursions. `also` names columns that it hands on beside the quantities. #}
{% macro pass_with_windows(step, previous, needed, library, last_used, also=[]) %}
        select
            {{- windows_of_pass(step, needed) }}
            {{- scalars_of_pass(step, needed, library) }}
            {{- passed_on(step, needed, last_used) }}
            bar_start, session_date, is_confirmed_late, is_watermark, is_after,
            {%- for name in also %} {{ name }},{% endfor %} bar_count, bar_no
        from {{ previous }}
        {{ window_clauses(step, needed) }}
    {% endmacro %}


{% macro list_declared(text) -%}
    {%- for name, expression in read_declarations(text).found.items() %}
            {{ expression }} as {{ name }},
    {%- endfor %}
{%- endmacro %}


{% macro scalars_of_pass(step, needed, library) -%}
    {%- for name, quantity in needed.items() if quantity.step == step and not quantity.window %}
            {{ library[name].expression | replace('stored_state', 'watermarks.' ~ name) }} as {{ name }},
    {%- endfor %}
{%- endmacro %}


{% macro windows_of_pass(step, needed) -%}
    {%- for is_read_again in (true, false) -%}
        {%- for name, quantity in needed.items() if quantity.step == step and quantity.window -%}
            {%- if (quantity.window.kind in ('mean', 'sd', 'max', 'min')) == is_read_again %}
            {{ window_function(quantity.window) }} as {{ name }},
            {%- endif -%}
        {%- endfor -%}
    {%- endfor -%}
{%- endmacro %}


{# {name: the last pass that names it}. #}
{% macro last_uses(needed, library, levels) -%}
    {%- set passes = feature_passes() -%}
    {%- set last = {} -%}
    {%- for name in newest_breaks().values() -%} {%- do last.update({name: passes.computed}) -%} {%- endfor -%}
    {%- for name, quantity in needed.items() -%}
        {%- set inputs = [quantity.window.of] if quantity.window else names_in(library[name].expression) if name in library else [] -%}
        {%- for input in inputs -%}
            {%- do last.update({input: [last.get(input, passes.given), quantity.step] | max}) -%}
        {%- endfor -%}
    {%- endfor -%}
    {%- for name in levels -%} {%- do last.update({name: passes.described}) -%} {%- endfor -%}
    {{ return(last) }}
{%- endmacro %}


{# What was computed before a pass and is named after it, but for the columns that every pass hands on. #}
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
