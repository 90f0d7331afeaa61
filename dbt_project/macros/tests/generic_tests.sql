{% test unique_combination(model, columns) %}
select {{ columns | join(', ') }}, count(*) as rows_found
from {{ untested(model) }} as tested
group by {{ columns | join(', ') }}
having count(*) > 1
{% endtest %}


{# Unique among the rows that have a value in each of these columns. #}
{% test unique_if_given(model, columns) %}
select {{ columns | join(', ') }}, count(*) as rows_found
from {{ untested(model) }} as tested
where num_nulls({{ columns | join(', ') }}) = 0
group by {{ columns | join(', ') }}
having count(*) > 1
{% endtest %}


{# Unique and never null. #}
{% test primary_key(model, columns) %}
select {{ columns | join(', ') }}, count(*) as rows_found
from {{ untested(model) }} as tested
group by {{ columns | join(', ') }}
having count(*) > 1 or num_nulls({{ columns | join(', ') }}) > 0
{% endtest %}


{% test expression_is_true(model, expression) %}
select *
from {{ untested(model) }} as tested
where ({{ expression }}) is not true
{% endtest %}


{% test never_null(model, columns) %}
select *
from (select {{ columns | join(', ') }} from {{ untested(model) }} as tested) as required
where num_nulls({{ columns | join(', ') }}) > 0
{% endtest %}


{# Every expected bar is either there or in the ledger: consecutive ordinals but for its gaps. #}
{% test no_unexplained_gap(model) %}
with bars as (
    select symbol, count(*) as bars_found, min(bar_no) as first_bar_no, max(bar_no) as newest_bar_no
    from {{ untested(model) }} as tested
    group by symbol
),

-- the ledger is asked about those alone
incomplete as (
    select *
    from bars
    where newest_bar_no - first_bar_no + 1 <> bars_found
),

explained as (
    select
        incomplete.*,
        (
            select count(*)
            from {{ live_table_beside(model, 'missing') }} as gaps
            where
                gaps.symbol = incomplete.symbol
                and gaps.bar_no between incomplete.first_bar_no and incomplete.newest_bar_no
                and not gaps.has_flat_bar
        ) as gaps_found
    from incomplete
)

select *
from explained
where newest_bar_no - first_bar_no + 1 <> bars_found + gaps_found
{% endtest %}
