{#
    Whether a price that moved far is confirmed: by what other sources say of the same bar, or, where there are none, by
    the next bar's open.
#}

{# Each row beside the next ones of its source. A first bar has nothing before it: one of the next three has to open near
   its close. #}
{% macro compared() %}
        select
            *,
            (high * share_factor)::float8 as share_high,
            (low * share_factor)::float8 as share_low,
            (close * share_factor)::float8 as share_close,
            lead(bar_no) over by_source = bar_no + 1 and {{ opens_near(1) }} as goes_on,
            coalesce({{ opens_near(1) }}, false)
            or coalesce({{ opens_near(2) }}, false)
            or coalesce({{ opens_near(3) }}, false) as is_followed
        from in_shares
        window by_source as (partition by source order by bar_no)
    {% endmacro %}


{% macro witnessed() %}
        select
            *,
            case
                when is_level then true
                when count(*) over others > 0 then
                    max(share_high) over others * largest_move >= share_high
                    and min(share_low) over others <= share_low * largest_move
                else goes_on is true
            end as has_witness,
            count(*) over others = 0 as is_alone
        from compared
        window others as (
            partition by bar_no order by rank
            rows between unbounded preceding and unbounded following exclude current row
        )
    {% endmacro %}


{# Whether the open some rows later is as near to this row's close as a price may move. #}
{% macro opens_near(rows) -%}
    lead((open * share_factor)::float8, {{ rows }}) over by_source
            between (close * share_factor)::float8 / largest_move and (close * share_factor)::float8 * largest_move
{%- endmacro %}
