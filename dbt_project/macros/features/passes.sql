{#
    The passes over a symbol's bars. A quantity is computed in the first pass after those of all its inputs; a window needs
    a pass of its own kind, because its inputs must be finished before it starts.
#}

{# {name: its place in the order}. #}
{% macro feature_passes() -%}
    {{ return({
        'given': 0,     'bars': 1,      'counted': 2,   'measured': 3,  'summable': 4,  'spanned': 5,   'recent': 6,
        'valued': 7,    'cut': 8,       'summed': 9,    'computed': 10, 'smoothed': 11, 'described': 12,
    }) }}
{%- endmacro %}


{#
    The longest short window. Long windows, recursions and what goes back further are computed first (spanned), over the
    whole lookback. The many short ones follow (summed), with the measures and summands that only they need, and read only
    the rows that they need: a tail of one bar, which is what a live read computes, has a third of the lookback then.
#}
{% macro longest_short_window() -%}
    {{ return(20) }}
{%- endmacro %}


{#
    How many rows before the first one after the watermark the passes from `step` on read: the longest way back from a
    feature through their windows.
#}
{% macro rows_back_from(step, needed, library) -%}
    {%- set back, found = {}, [0] -%}
    {%- for name, quantity in needed.items() | list | reverse if quantity.step >= step -%}
        {%- set way = back.get(name, 0) + (quantity.window.rows if quantity.window else 0) -%}
        {%- do found.append(way) -%}
        {%- for input in inputs_of(name, quantity, library) -%}
            {%- do back.update({input: [back.get(input, 0), way] | max}) -%}
        {%- endfor -%}
    {%- endfor -%}
    {{ return(found | max) }}
{%- endmacro %}


{# What a quantity's expression or window names. #}
{% macro inputs_of(name, quantity, library) -%}
    {{ return([quantity.window.of] if quantity.window else names_in(library[name].expression) if name in library else []) }}
{%- endmacro %}


{# A pass of scalar expressions. #}
{% macro pass_without_windows(step, previous, needed, library, last_used) %}
        select
            {{- values_to_cut(needed, library) if step == feature_passes().valued }}
            {{- scalars_of_pass(step, needed, library) }}
            {{- passed_on(step, needed, last_used, library) }}
            bar_start, session_date, is_confirmed_late, is_watermark, is_after, bar_count, bar_no
        from {{ previous }}
        offset 0
    {% endmacro %}


{# A pass of scalar expressions over the rows that the passes after it read. #}
{% macro pass_over_recent_rows(step, previous, needed, library, last_used) %}
        select
            {{- scalars_of_pass(step, needed, library) }}
            {{- passed_on(step, needed, last_used, library) }}
            bar_start, session_date, is_confirmed_late, is_watermark, is_after, bar_count, bar_no
        from {{ previous }}
        where bar_no >= coalesce(watermarks.bar_no - {{ rows_back_from(step, needed, library) }}, 0)
        offset 0
    {% endmacro %}


{# A pass of windows and recursions. `also` names columns that it hands on beside the quantities. #}
{% macro pass_with_windows(step, previous, needed, library, last_used, also=[]) %}
        select
            {{- windows_of_pass(step, needed, library) }}
            {{- scalars_of_pass(step, needed, library) }}
            {{- passed_on(step, needed, last_used, library) }}
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
    {%- set passes = feature_passes() -%}
    {%- for name, quantity in needed.items() if quantity.step == step and not quantity.window %}
        {%- set expression = library[name].expression | replace('stored_state', 'watermarks.' ~ name) %}
        {%- if library[name].kind %}
            {%- for part in cut_summand(name if step == passes.cut else expression, library[name].kind) %}
            {{ part }} as {{ name }}__{{ loop.index }},
            {%- endfor %}
        {%- else %}
            {{ expression }} as {{ name }},
        {%- endif %}
    {%- endfor %}
{%- endmacro %}


{#
    The values of the summands that the next pass cuts: a cut repeats what it cuts more often than it has parts. The few that
    long windows sum are cut at once, because another pass over the whole lookback would cost more.
#}
{% macro values_to_cut(needed, library) -%}
    {%- for name, quantity in needed.items() if quantity.step == feature_passes().cut %}
            {{ library[name].expression }} as {{ name }},
    {%- endfor %}
{%- endmacro %}


{% macro windows_of_pass(step, needed, library) -%}
    {%- for is_read_again in (true, false) -%}
        {%- for name, quantity in needed.items() if quantity.step == step and quantity.window -%}
            {%- if (quantity.window.kind in ('sd', 'slope', 'max', 'min')) == is_read_again %}
            {{ window_function(quantity.window, library) }} as {{ name }},
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
        {#- a summand that is cut of its value needs its inputs for that value only -#}
        {%- set used = passes.valued if quantity.step == passes.cut else quantity.step -%}
        {%- for input in inputs_of(name, quantity, library) -%}
            {%- do last.update({input: [last.get(input, passes.given), used] | max}) -%}
        {%- endfor -%}
    {%- endfor -%}
    {%- for name in levels -%} {%- do last.update({name: passes.described}) -%} {%- endfor -%}
    {{ return(last) }}
{%- endmacro %}


{# What was computed before a pass and is named after it, but for the columns that every pass hands on. #}
{% macro passed_on(step, needed, last_used, library) -%}
    {%- set always = given_quantities() + ['bar_start', 'session_date', 'is_confirmed_late'] -%}
    {%- for name, quantity in needed.items() if quantity.step < step and last_used.get(name, 0) > step and name not in always %}
        {%- for column in columns_of(name, library) %}
            {{ column }},
        {%- endfor %}
    {%- endfor %}
{%- endmacro %}


{# The columns that hold a quantity: a summand's parts, or one of its name. #}
{% macro columns_of(name, library) -%}
    {%- set columns = [] -%}
    {%- for part in (summand_parts()[library[name].kind] if name in library and library[name].kind else []) -%}
        {%- do columns.append(name ~ '__' ~ loop.index) -%}
    {%- endfor -%}
    {{ return(columns or [name]) }}
{%- endmacro %}


{% macro window_function(window, library) -%}
    {%- set frame = 'last_' ~ window.rows -%}
    {%- set sums = [] -%}
    {%- for part in (summand_parts()[library[window.of].kind] if window.kind == 'sum' else []) -%}
        {%- do sums.append('features.moving_sum(' ~ window.of ~ '__' ~ loop.index ~ ') over ' ~ frame) -%}
    {%- endfor -%}
    {%- set calls = {
        'ago': 'lag(' ~ window.of ~ ', ' ~ window.rows ~ ') over bars_in_order',
        'sum': sums | join(' + '),
        'sd': 'stddev_pop(' ~ window.of ~ ') over ' ~ frame,
        'slope': 'regr_slope(' ~ window.of ~ ', bar_no) over ' ~ frame,
        'max': 'max(' ~ window.of ~ ') over ' ~ frame,
        'min': 'min(' ~ window.of ~ ') over ' ~ frame,
        'newest': 'max(' ~ window.of ~ ') over bars_in_order',
    } -%}
    {{ return(calls[window.kind]) }}
{%- endmacro %}


{% macro window_clauses(step, needed) -%}
    {%- set lengths = [] -%}
    {%- for quantity in needed.values() if quantity.step == step and quantity.window and quantity.window.rows and quantity.window.kind not in ('ago', 'newest') -%}
        {%- do lengths.append(quantity.window.rows) -%}
    {%- endfor -%}
    window
            bars_in_order as (order by bar_no rows unbounded preceding)
            {%- for rows in lengths | unique | sort %},
            last_{{ rows }} as (order by bar_no rows between {{ rows - 1 }} preceding and current row)
            {%- endfor %}
{%- endmacro %}


{#
    Cuts a value into parts whose sums over a window are exact: each part is a multiple of a power of two, so small a one
    that what is left over is known, and so large a one that a hundred of the largest values sum to less than 2^53 of it.
    Taken together the parts hold the value, to the last part's power.
#}
{% macro cut_summand(expression, kind) -%}
    {%- set parts = [] -%}
    {%- set rest = namespace(text='(' ~ expression ~ ')') -%}
    {%- for exponent in summand_parts()[kind] -%}
        {%- if exponent is none -%}
            {%- do parts.append(rest.text) -%}
        {%- else -%}
            {#- adding 1.5 * 2^(52 + e) rounds to a multiple of 2^e, because a float has 53 binary digits -#}
            {%- set rounder = "'" ~ 1.5 * 2.0 ** (52 + exponent) ~ "'::float8" -%}
            {%- do parts.append(rest.text ~ ' + ' ~ rounder ~ ' - ' ~ rounder) -%}
            {%- set rest.text = '(' ~ rest.text ~ ' - (' ~ parts[-1] ~ '))' -%}
        {%- endif -%}
    {%- endfor -%}
    {{ return(parts) }}
{%- endmacro %}


{#
    {kind: the exponents of its parts' powers of two}. The first follows from the largest value: prices to 1e18, volume and
    turnover to 1e21, logarithms of price ratios to 11 and their powers, logarithms of volume ratios to 49, a flag.
#}
{% macro summand_parts() -%}
    {{ return({
        'price': [14, -33, -80, -127],
        'volume': [24, -23, -70],
        'return': [-37, -84],
        'power': [-32, -79, -126, -173],
        'volume_return': [-34, -81],
        'count': [none],
    }) }}
{%- endmacro %}
