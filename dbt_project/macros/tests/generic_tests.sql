{% test unique_combination(model, columns) %}
select {{ columns | join(', ') }}, count(*) as rows_found
from {{ model }}
group by {{ columns | join(', ') }}
having count(*) > 1
{% endtest %}


{% test expression_is_true(model, expression) %}
select *
from {{ model }}
where ({{ expression }}) is not true
{% endtest %}


{% test never_null(model, columns) %}
select *
from (select {{ columns | join(', ') }} from {{ model }}) as required
where num_nulls({{ columns | join(', ') }}) > 0
{% endtest %}


{# Of prices under several prefixes: as traded, and adjusted. #}
{% test ohlc_is_sane(model, prefixes) %}
select *
from {{ model }}
where
    {%- for prefix in prefixes %}
    {{ prefix }}low > least({{ prefix }}open, {{ prefix }}high, {{ prefix }}close)
    or {{ prefix }}high < greatest({{ prefix }}open, {{ prefix }}low, {{ prefix }}close)
    or {{ prefix }}low <= 0
    {%- if not loop.last %} or {% endif %}
    {%- endfor %}
{% endtest %}


{# Every expected bar is either there or in the ledger: consecutive ordinals but for its gaps. #}
{% test no_unexplained_gap(model, gaps) %}
with bars as (
    select symbol, count(*) as bars_found, min(bar_no) as first_bar_no, max(bar_no) as newest_bar_no
    from {{ model }}
    group by symbol
),

explained as (
    select bars.symbol, count(*) as gaps_found
    from bars
    inner join {{ gaps }} as gaps
        on gaps.symbol = bars.symbol and gaps.bar_no between bars.first_bar_no and bars.newest_bar_no
    where gaps.timeframe = '{{ model.identifier.split('_')[-1] }}' and not gaps.has_flat_bar
    group by bars.symbol
)

select bars.*, explained.gaps_found
from bars
left join explained on bars.symbol = explained.symbol
where bars.newest_bar_no - bars.first_bar_no + 1 <> bars.bars_found + coalesce(explained.gaps_found, 0)
{% endtest %}
