{#
    Everything that can be wrong with the declarations, found before a build touches the warehouse: one sentence each, with
    the file and the feature. Runs at the start of every dbt command that runs models or tests, and where features are
    compiled by `dbt compile`, which runs nothing at its start.
#}
{% macro check_features() -%}
    {%- if execute and flags.WHICH in ('build', 'run', 'test', 'compile', 'show', 'retry') -%}
        {%- set nodes = [] -%}
        {%- for node in graph.nodes.values() if node.resource_type == 'model' and node.config.materialized == 'live' -%}
            {%- do nodes.append(node) -%}
        {%- endfor -%}
        {%- do raise_declaration_faults(nodes) -%}
    {%- endif -%}
{%- endmacro %}


{% macro raise_declaration_faults(nodes) -%}
    {%- set library = feature_library() -%}
    {%- set wrong = library.wrong -%}
    {%- set features = [] -%}
    {%- for name, declared in library.declared.items() if declared.group -%}
        {%- do features.append(name) -%}
    {%- endfor -%}
    {%- set resolved = resolve(features, library.declared, wrong) -%}
    {%- for name, declared in library.declared.items() -%}
        {%- set place = 'macros/features/' ~ declared.file ~ ": " ~ name -%}
        {%- do wrong.extend(nondeterminism(place, declared.expression) + what_can_raise(place, name, declared.expression)) -%}
    {%- endfor -%}
    {%- for node in nodes -%}
        {%- do wrong.extend(nondeterminism(node.original_file_path, node.raw_code)) -%}
        {%- if node.schema == 'features' -%}
            {%- do _check_documents(node, features, library.declared, resolved, wrong) -%}
        {%- endif -%}
    {%- endfor -%}
    {%- if wrong -%}
        {{ exceptions.raise_compiler_error(wrong | unique | join('\n  ')) }}
    {%- endif -%}
{%- endmacro %}


{# The model's YAML entries against the declarations. #}
{% macro _check_documents(node, features, declared, resolved, wrong) -%}
    {%- set groups = feature_groups().keys() | list -%}
    {%- set passes = feature_passes() -%}
    {%- set stored_passes = (passes.spanned, passes.smoothed, passes.described) -%}
    {%- set place = (node.patch_path or node.original_file_path).split('://')[-1] ~ ": " ~ node.name ~ "." -%}
    {%- for name, quantity in resolved.items() if quantity.step in stored_passes and not quantity.window and name not in node.columns -%}
        {%- do wrong.append('macros/features/' ~ declared[name].file ~ ": " ~ name ~ " is declared, but " ~ node.name ~ " does not document it") -%}
    {%- endfor -%}
    {%- for name, column in node.columns.items() if column.meta.group -%}
        {%- set meta = column.meta -%}
        {%- if meta.group not in groups + ['level'] -%}
            {%- do wrong.append(place ~ name ~ " has the group " ~ meta.group ~ ", which no hypothesis can choose: " ~ groups | join(', ')) -%}
        {%- elif name not in declared -%}
            {%- do wrong.append(place ~ name ~ " is documented, but declared nowhere") -%}
        {%- elif (declared[name].group or 'level') != meta.group -%}
            {%- do wrong.append(place ~ name ~ " has the group " ~ meta.group ~ ", but is declared in " ~ declared[name].file) -%}
        {%- elif not column.description or not meta.unit or meta.lookback is not integer -%}
            {%- do wrong.append(place ~ name ~ " needs a description, a unit and a lookback in bars") -%}
        {%- elif meta.lookback > node.config.lookback + 1 -%}
            {%- do wrong.append(place ~ name ~ " has a lookback of " ~ meta.lookback ~ " bars, but the model reads " ~ (node.config.lookback + 1)) -%}
        {%- elif name in resolved and meta.lookback < resolved[name].span -%}
            {%- do wrong.append(place ~ name ~ " has a lookback of " ~ meta.lookback ~ " bars, but is computed from " ~ resolved[name].span) -%}
        {%- endif -%}
    {%- endfor -%}
{%- endmacro %}


{# Sentences about functions whose result depends on when or how often they are called. #}
{% macro nondeterminism(place, code) -%}
    {%- set functions = '\\b(?:now|random|random_normal|clock_timestamp|statement_timestamp|transaction_timestamp|timeofday|gen_random_uuid|nextval|txid_current|pg_current_xact_id|pg_current_snapshot)\\s*\\(' -%}
    {%- set words = '\\b(?:current_date|current_time|current_timestamp|localtime|localtimestamp)\\b' -%}
    {%- set code = modules.re.sub('--[^\\n]*', '', code) -%}
    {%- set sentences = [] -%}
    {%- for found in modules.re.findall(functions ~ '|' ~ words, code | lower) -%}
        {%- do sentences.append(place ~ " calls " ~ found | replace('(', '') | trim ~ ", whose result depends on when it runs: a live model must be deterministic") -%}
    {%- endfor -%}
    {{ return(sentences) }}
{%- endmacro %}
