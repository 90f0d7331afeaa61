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


{% test ohlc_is_sane(model, prefix='') %}
select *
from {{ model }}
where
    {{ prefix }}low > least({{ prefix }}open, {{ prefix }}high, {{ prefix }}close)
    or {{ prefix }}high < greatest({{ prefix }}open, {{ prefix }}low, {{ prefix }}close)
    or {{ prefix }}low <= 0
{% endtest %}


{# Every expected bar is either there or explained: consecutive ordinals but for the ledger's gaps. #}
{% test no_unexplained_gap(model, gaps, timeframe) %}
with bars as (
    select symbol, count(*) as bars_found, max(bar_no) - min(bar_no) + 1 as bars_expected
    from {{ model }}
    group by symbol
),

explained as (
    select symbol, count(*) as gaps_found
    from {{ gaps }}
    where timeframe = '{{ timeframe }}'
    group by symbol
)

select bars.*, explained.gaps_found
from bars
left join explained on bars.symbol = explained.symbol
where bars.bars_expected <> bars.bars_found + coalesce(explained.gaps_found, 0)
{% endtest %}
