{#
    What is known around each price: what other sources say of the same bar, and the opens of the next bars in which
    somebody traded. A flat row without volume repeats an older price and witnesses nothing.
#}
{% macro traded() %}
        select
            *,
            {{ share_factor('session_date') }} as share_factor
        from offered
        where not is_level and {{ somebody_traded() }}
    {% endmacro %}


{#
    Whether a bar comes after a silence that is too long for a quiet market. Bars up to the newest of the history are known to
    be silent when they are there, and a bar of which minutes were traded is not silent because it is not whole.
#}
{% macro reappears(timeframe) -%}
    case
                when witnessed.bar_no - witnessed.previous_no > {{ inactive_after(timeframe) }}
                    then (
                        select
                            witnessed.bar_no - heard.bar_no > {{ inactive_after(timeframe) }}
                            and coalesce(
                                tstzrange(
                                    reference.bar_start(
                                        watermarks.calendar, '{{ timeframe }}', greatest(heard.bar_no, watermarks.bar_no) + 1
                                    ),
                                    witnessed.bar_start
                                ) <@ (select answered.windows from answered),
                                false
                            )
                        from (
                            {%- if timeframe == '1m' %}
                            select witnessed.previous_no as bar_no
                            {%- else %}
                            select greatest(witnessed.previous_no, max(bucketed.bar_no)) as bar_no
                            from bucketed
                            where bucketed.is_traded and bucketed.bar_no < witnessed.bar_no
                            {%- endif %}
                        ) as heard
                    )
                else false
            end
{%- endmacro %}


{% macro inactive_after(timeframe) -%}
    (
                    select limits.inactive_after
                    from {{ ref('activity_limits') }} as limits
                    where limits.asset_class = watermarks.asset_class and limits.timeframe = '{{ timeframe }}'
                )
{%- endmacro %}


{% macro witnessed() %}
        select
            *,
            true as is_traded,
            coalesce(max(bar_no) over previous_bar, watermarks.traded_bar_no) as previous_no,
            max(high::float8) over others as others_high,
            min(low::float8) over others as others_low,
            min(open::float8) over next_bar as next_low,
            max(open::float8) over next_bar as next_high,
            min(share_factor) over next_bar / share_factor as next_factor,
            min(open::float8) over second_bar as second_low,
            max(open::float8) over second_bar as second_high,
            min(share_factor) over second_bar / share_factor as second_factor
        from traded
        window
            previous_bar as (order by bar_no groups between 1 preceding and 1 preceding),
            others as (order by bar_no groups between current row and current row exclude current row),
            next_bar as (order by bar_no groups between 1 following and 1 following),
            second_bar as (order by bar_no groups between 2 following and 2 following)
        union all
        select
            *,
            null as share_factor,
            false as is_traded,
            null, null, null, null, null, null, null, null, null
        from offered
        where is_level or not ({{ somebody_traded() }})
    {% endmacro %}
