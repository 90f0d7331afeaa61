{#
    Reads the declarations: which quantities there are, what each is made of, and what one feature needs. What is declared
    together is computed in one pass, see feature_passes.
#}

{# `expression as name, …` as {name: expression}, in order. A name that comes twice is kept with its last meaning and
   listed under `twice`; what is not such a list is returned as `rest`. #}
{% macro read_declarations(text) -%}
    {%- set pattern = '(?s)\\s*(\\S.*?)\\s+as\\s+(\\w+)\\s*(?:,|$)' -%}
    {%- set text = modules.re.sub('--[^\\n]*', '', text) -%}
    {%- set found, twice = {}, [] -%}
    {%- for expression, name in modules.re.findall(pattern, text) -%}
        {%- do twice.append(name) if name in found -%}
        {%- do found.update({name: modules.re.sub('\\s+', ' ', expression)}) -%}
    {%- endfor -%}
    {{ return({'found': found, 'twice': twice, 'rest': modules.re.sub(pattern, '', text) | trim}) }}
{%- endmacro %}


{# What features_model gives beside the declarations. #}
{% macro given_quantities() -%}
    {{ return(['bar_no', 'bar_count', 'session_open', 'session_close', 'is_watermark', 'stored_state']) }}
{%- endmacro %}


{# Every group with its features' declarations. A group is a file in macros/features/groups. #}
{% macro feature_groups() -%}
    {{ return({
        'momentum': momentum_features(),
        'trend': trend_features(),
        'volatility': volatility_features(),
        'volume': volume_features(),
        'candle': candle_features(),
        'calendar': calendar_features(),
        'statistical': statistical_features(),
        'cross_asset': cross_asset_features(),
    }) }}
{%- endmacro %}


{#
    {name: {expression, step, group, file, kind}} of every quantity and feature, and what is wrong with the declarations as
    sentences.
#}
{% macro feature_library() -%}
    {%- set library, wrong = {}, [] -%}
    {%- set passes = feature_passes() -%}
    {%- set parts = [
        (passes.bars, none, 'quantities.sql', bar_columns()),
        (passes.measured, none, 'quantities.sql', measures()),
        (passes.summable, none, 'quantities.sql', streaks()),
        (passes.spanned, none, 'quantities.sql', recursions()),
        (passes.computed, none, 'quantities.sql', statistics()),
        (passes.smoothed, none, 'quantities.sql', second_recursions()),
    ] -%}
    {%- for kind, text in summands().items() -%}
        {%- do parts.append((passes.summable, none, 'quantities.sql', text, kind)) -%}
    {%- endfor -%}
    {%- for group, text in feature_groups().items() -%}
        {%- do parts.append((passes.described, group, 'groups/' ~ group ~ '.sql', text)) -%}
    {%- endfor -%}
    {%- for part in parts -%}
        {%- set step, group, file, text = part[:4] -%}
        {%- set declarations = read_declarations(text) -%}
        {%- for name in declarations.twice -%}
            {%- do wrong.append('macros/features/' ~ file ~ ": " ~ name ~ " is declared twice") -%}
        {%- endfor -%}
        {%- if declarations.rest -%}
            {%- do wrong.append('macros/features/' ~ file ~ ": a declaration is `expression as name`, which this is not: " ~ declarations.rest[:60]) -%}
        {%- endif -%}
        {%- for name, expression in declarations.found.items() -%}
            {%- if name in library -%}
                {%- do wrong.append('macros/features/' ~ file ~ ": " ~ name ~ " is declared in " ~ library[name].file ~ " too") -%}
            {%- endif -%}
            {%- do library.update({name: {'expression': expression, 'step': step, 'group': group, 'file': file, 'kind': part[4] if part | length > 4 else none}}) -%}
        {%- endfor -%}
    {%- endfor -%}
    {{ return({'declared': library, 'wrong': wrong}) }}
{%- endmacro %}


{# The names in an expression that stand for quantities: not functions, types, keywords or strings. #}
{% macro names_in(expression) -%}
    {%- set keywords = ['case', 'when', 'then', 'else', 'end', 'and', 'or', 'not', 'null', 'is', 'in', 'between', 'over',
        'true', 'false', 'at', 'time', 'zone', 'date', 'interval', 'distinct', 'from', 'bars_in_order'] -%}
    {%- set bare = modules.re.sub("'[^']*'|::\\w+|\\w+\\.\\w+", '', expression) -%}
    {%- set names = [] -%}
    {%- for name in modules.re.findall('\\b[a-z_]\\w*\\b(?!\\s*\\()', bare) if name not in keywords and name not in names -%}
        {%- do names.append(name) -%}
    {%- endfor -%}
    {{ return(names) }}
{%- endmacro %}


{# What a name says about its window: {of, kind, rows}, or none. #}
{% macro window_named(name) -%}
    {%- set parts = modules.re.match('^(\\w+)_(ago|sum|sd|slope|max|min)_(\\d+)$', name) -%}
    {%- if parts -%}
        {{ return({'of': parts.group(1), 'kind': parts.group(2), 'rows': parts.group(3) | int}) }}
    {%- endif -%}
    {%- set parts = modules.re.match('^(\\w+)_newest$', name) -%}
    {{ return({'of': parts.group(1), 'kind': 'newest', 'rows': 1} if parts else none) }}
{%- endmacro %}


{#
    What a feature's value is made of, as text: when it is null, and every declaration it reaches, down to the bars, comments
    and layout left out. Two texts differ exactly when something that the feature needs was changed. What all features
    share is features_tail without columns.
#}
{% macro definition_of(name, column, resolved, library) -%}
    {%- set lines = [feature_expression(name, column, resolved, library[name].expression)] -%}
    {%- for reached in resolved[name].reach | sort if reached in library -%}
        {%- do lines.append(reached ~ ' = ' ~ library[reached].expression) -%}
        {%- do lines.append(reached ~ ' in parts of ' ~ summand_parts()[library[reached].kind]) if library[reached].kind -%}
    {%- endfor -%}
    {%- for reached in resolved[name].reach | sort if resolved[reached].window -%}
        {%- do lines.append(reached ~ ' = ' ~ window_function(resolved[reached].window, library)) -%}
    {%- endfor -%}
    {{ return(lines | join('\n')) }}
{%- endmacro %}


{#
    Follows names down to the bars. Returns {name: {step, span, reach, window}} of all that `names` reach: span is how many bars the
    value is computed from, this one included (recursions count their first input only: the rest is in their state), reach
    the names it needs. Sentences about what cannot be followed are appended to `wrong`.
#}
{% macro resolve(names, library, wrong) -%}
    {%- set resolved, open = {}, {} -%}
    {%- set passes = feature_passes() -%}
    {%- for name in given_quantities() -%}
        {%- do resolved.update({name: {'step': passes.given, 'span': 1, 'reach': [], 'window': none}}) -%}
    {%- endfor -%}
    {%- for name in names -%}
        {%- do _resolve(name, library, passes, resolved, open, wrong) -%}
    {%- endfor -%}
    {{ return(resolved) }}
{%- endmacro %}


{% macro _resolve(name, library, passes, resolved, open, wrong) -%}
    {%- if name in resolved -%} {{ return(resolved[name]) }} {%- endif -%}
    {%- set declared = library.get(name) -%}
    {%- set window = none if declared else window_named(name) -%}
    {%- set inputs = names_in(declared.expression) if declared else [window.of] if window else [] -%}
    {%- set place = 'macros/features/' ~ declared.file ~ ': ' if declared else 'window ' -%}
    {%- do open.update({name: true}) -%}
    {%- set reach, steps, spans = [], [passes.given], [1] -%}
    {%- for input in inputs -%}
        {%- set is_summand = input in library and library[input].kind is not none -%}
        {%- if input in open and input not in resolved -%}
            {%- do wrong.append(place ~ name ~ " is made of itself, through " ~ input) -%}
        {%- elif input not in resolved and input not in library and not window_named(input) -%}
            {%- do wrong.append(place ~ name ~ " names " ~ input ~ ", which is no column of the bars and is declared nowhere") -%}
        {%- elif window.kind == 'sum' and not is_summand -%}
            {%- do wrong.append(place ~ name ~ " sums " ~ input ~ ", which is no summand") -%}
        {%- elif window.kind != 'sum' and is_summand -%}
            {%- do wrong.append(place ~ name ~ " names the summand " ~ input ~ ", of which only sums are known") -%}
        {%- else -%}
            {%- set below = _resolve(input, library, passes, resolved, open, wrong) -%}
            {%- do steps.append(below.step) -%}
            {%- do spans.append(below.span) -%}
            {%- do reach.append(input) -%}
            {%- do reach.extend(below.reach) -%}
        {%- endif -%}
    {%- endfor -%}
    {%- set below = steps | max -%}
    {%- if window.kind == 'sum' and window.rows > 100 -%}
        {%- do wrong.append(place ~ name ~ " sums " ~ window.rows ~ " bars, but parts of summands are exact up to 100") -%}
    {%- endif -%}
    {%- if window -%}
        {%- if below < passes.counted and window.kind in ('ago', 'max', 'min') -%}
            {%- set step = passes.counted -%}
        {%- elif below < passes.spanned and (window.kind in ('ago', 'newest') or window.rows > longest_short_window()) -%}
            {%- set step = passes.spanned -%}
        {%- else -%}
            {%- set step = passes.summed if below < passes.summed else passes.smoothed -%}
        {%- endif -%}
        {%- set span = spans | max + window.rows - (0 if window.kind == 'ago' else 1) -%}
    {%- else -%}
        {%- set step = declared.step -%}
        {%- set span = spans | max -%}
        {%- if below >= step -%}
            {%- do wrong.append(place ~ name ~ " names what is computed only after it") -%}
        {%- endif -%}
    {%- endif -%}
    {%- do resolved.update({name: {'step': step, 'span': span, 'reach': reach | unique | list, 'window': window}}) -%}
    {{ return(resolved[name]) }}
{%- endmacro %}


{# What was resolved, with the measures and summands of short windows alone computed only after the long ones. #}
{% macro in_their_passes(resolved, library) -%}
    {%- set passes = feature_passes() -%}
    {%- set early = [] -%}
    {%- for quantity in resolved.values() if quantity.step == passes.spanned -%}
        {%- do early.extend(quantity.reach) -%}
    {%- endfor -%}
    {%- for name, quantity in resolved.items() if name not in early -%}
        {%- if quantity.step == passes.measured -%} {%- do quantity.update({'step': passes.recent}) -%}
        {%- elif quantity.step == passes.summable -%}
            {%- do quantity.update({'step': passes.cut if library[name].kind else passes.valued}) -%}
        {%- endif -%}
    {%- endfor -%}
    {{ return(resolved) }}
{%- endmacro %}
