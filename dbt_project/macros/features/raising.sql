{#
    Sentences about what can raise an error in a declaration: one row of one symbol would stop it. `arithmetic.sql` has the words that
    yield null instead. A divisor is a number, or what can never be zero: a price, a mean of prices, a lot, a session's length.
#}
{% macro what_can_raise(place, name, expression) -%}
    {%- set total = ['abs', 'coalesce', 'cos', 'date_part', 'features.ema', 'greatest', 'least', 'ln', 'nullif', 'pi', 'sign', 'sin', 'sqrt'] -%}
    {%- set keywords = ['and', 'or', 'not', 'in', 'is', 'when', 'then', 'else', 'case', 'between'] -%}
    {%- set number = '\\((?:[\\d.\\s+*/()-]|ln|sqrt|::float8)+\\)|[\\d.]*[1-9]' -%}
    {%- set price = '(?:benchmark_close|open|high|low|close|sma_\\d+|ema_\\d+)(?:_(?:ago|max|min)_\\d+)*\\b' -%}
    {%- set divisor = '\\s*(?:nullif\\(|units\\.lot_size\\b|date_part\\(|(?:ln|sqrt)\\(\\d|greatest\\([^()]*, 1\\)'
        ~ '|(?:greatest|least)\\(\\s*' ~ price ~ '|' ~ number ~ '|' ~ price ~ ')' -%}
    {%- set bare = modules.re.sub("'[^']*'", "''", expression | lower) -%}
    {#- a case that asks whether it is zero may divide by it -#}
    {%- set bare = modules.re.sub('(when ([\\w +]+) = 0 then .*)/ \\(\\2\\)', '\\1', bare) -%}
    {%- set said = [] -%}
    {%- for function in modules.re.findall('\\b([a-z_][\\w.]*)\\s*\\(', bare) if function not in total + keywords -%}
        {%- do said.append("calls " ~ function ~ ", which may raise an error") if not nondeterminism('', function ~ '(') -%}
    {%- endfor -%}
    {%- for cast in modules.re.findall('::\\s*(\\w+)', bare) if cast != 'float8' -%}
        {%- do said.append("casts to " ~ cast ~ ", which may raise an error") -%}
    {%- endfor -%}
    {%- for operator in modules.re.findall('[\\^|@#!~]+/?|%(?!\\s*[1-9])', bare) -%}
        {%- do said.append("uses " ~ operator ~ ", which may raise an error") -%}
    {%- endfor -%}
    {#- volume_return asks before it divides and takes logarithms -#}
    {%- if name != 'volume_return' -%}
        {%- for by in modules.re.findall('(?<!\\|)/(?!' ~ divisor ~ ')\\s*([\\w.]*)', bare) -%}
            {%- do said.append("divides by " ~ (by or 'what may be zero') ~ " without ratio(), which raises an error at zero") -%}
        {%- endfor -%}
        {%- if modules.re.search('\\bln\\s*\\((?!\\s*(?:nullif\\(|\\d))', bare) -%}
            {%- do said.append("calls ln() without log_ratio(), which raises an error at zero") -%}
        {%- endif -%}
        {%- if modules.re.search('\\bsqrt\\s*\\((?!\\s*(?:greatest\\(|\\d))', bare) -%}
            {%- do said.append("calls sqrt() without root(), which raises an error below zero") -%}
        {%- endif -%}
    {%- endif -%}
    {%- set sentences = [] -%}
    {%- for words in said -%} {%- do sentences.append(place ~ ' ' ~ words) -%} {%- endfor -%}
    {{ return(sentences) }}
{%- endmacro %}
