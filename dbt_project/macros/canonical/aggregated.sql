{# A bar made of canonical minutes: it stands for all of them or does not exist. #}

{#
    Whether bars of a symbol ever landed, of this timeframe or of any, or a person wrote one: looking for the newest of none
    takes as long as for one.
#}
{% macro was_sent(timeframe=none) -%}
    (
                select exists (
                    select 1
                    from {{ ref('ranked_vendors') }} as ranked
                    inner join {{ source('raw', 'landings') }} as landings
                        on
                            ranked.source = landings.source
                            and ranked.vendor_symbol = landings.vendor_symbol
                            and ranked.timeframe = landings.timeframe
                    where ranked.symbol = watermarks.symbol {%- if timeframe %} and ranked.timeframe = '{{ timeframe }}'{% endif %}
                )
                or exists (
                    select 1
                    from {{ ref('decisions') }} as written
                    where written.symbol = watermarks.symbol {%- if timeframe %} and written.timeframe = '{{ timeframe }}'{% endif %}
                )
            )
{%- endmacro %}


{# The minutes after the watermark, each with the day that it belongs to. #}
{% macro minutes_by_date() %}
        select
            minutes.*,
            minutes.bar_no as minute_no,
            sessions.first_bar_no as wider_bar_no,
            sessions.open_at as wider_start,
            sessions.close_at as wider_end
        from {{ ref('ohlcv_1m') }} as minutes
        inner join {{ source('reference', 'session_bars') }} as sessions
            on
                sessions.calendar = watermarks.calendar
                and sessions.timeframe = '1d'
                and sessions.session_date = minutes.session_date
        where
            {{ was_sent('1m') }}
            and minutes.symbol = watermarks.symbol
            and minutes.bar_start >= coalesce(watermarks.bar_end, '-infinity')
    {% endmacro %}


{# The minutes after the watermark, each with the wider bar that it belongs to. #}
{% macro minutes_by_time(timeframe) %}
        select
            minutes.*,
            minutes.bar_no as minute_no,
            {{ ordinal_within_session('minutes.bar_start', timeframe) }} as wider_bar_no,
            {{ start_within_session('minutes.bar_start', timeframe) }} as wider_start,
            {{ end_within_session('minutes.bar_start', timeframe) }} as wider_end
        from {{ ref('ohlcv_1m') }} as minutes
        inner join {{ source('reference', 'session_bars') }} as sessions
            on
                sessions.calendar = watermarks.calendar
                and sessions.timeframe = '{{ timeframe }}'
                and sessions.session_date = minutes.session_date
        where
            {{ was_sent('1m') }}
            and minutes.symbol = watermarks.symbol
            and minutes.bar_start >= coalesce(watermarks.bar_end, '-infinity')
    {% endmacro %}


{#
    One row per wider bar, with how many minutes it has. Its prices are those of the minutes in which somebody traded: a
    silent minute repeats an older close, which may lie outside of all that was traded here. Only a bar of silent minutes
    alone takes theirs.
#}
{% macro bucketed() %}
        select
            session_date,
            wider_bar_no as bar_no,
            min(wider_start) as bar_start,
            max(wider_end) as bar_end,
            coalesce(
                (array_agg(open order by minute_no) filter (where {{ somebody_traded() }}))[1],
                (array_agg(open order by minute_no))[1]
            ) as open,
            coalesce(max(high) filter (where {{ somebody_traded() }}), max(high)) as high,
            coalesce(min(low) filter (where {{ somebody_traded() }}), min(low)) as low,
            coalesce(
                (array_agg(close order by minute_no desc) filter (where {{ somebody_traded() }}))[1],
                (array_agg(close order by minute_no desc))[1]
            ) as close,
            sum(volume) as volume,
            bool_or(is_volume_estimated) as is_volume_estimated,
            max(revision) as revision,
            max(landed_at) as landed_at,
            bool_and(is_silent) as is_silent,
            bool_or({{ somebody_traded() }}) as is_traded,
            (array_agg(is_confirmed_late order by minute_no desc))[1] as is_late,
            bool_or(is_range_doubtful) as is_range_doubtful,
            bool_or(is_step_doubtful) as is_step_doubtful,
            count(*) as minutes_found,
            count(volume) as minutes_with_volume
        from minutes
        group by session_date, wider_bar_no
    {% endmacro %}


{# Some vendors send a flat bar without volume where others send none. #}
{% macro somebody_traded() -%}
    not is_silent and (volume is distinct from 0 or high > low)
{%- endmacro %}


{# The bars that have all their minutes. #}
{% macro aggregated(timeframe) %}
        select
            'aggregate' as source,
            precedence.rank,
            precedence.volume_rank,
            bucketed.bar_start as vendor_start,
            bucketed.session_date,
            bucketed.bar_start,
            bucketed.bar_end,
            bucketed.bar_no,
            bucketed.open,
            bucketed.high,
            bucketed.low,
            bucketed.close,
            bucketed.volume,
            bucketed.is_volume_estimated,
            bucketed.revision,
            bucketed.landed_at,
            bucketed.is_silent,
            bucketed.is_late,
            bucketed.is_range_doubtful,
            bucketed.is_step_doubtful
        from bucketed
        inner join {{ ref('precedence') }} as precedence
            on
                precedence.asset_class = watermarks.asset_class
                and precedence.timeframe = '{{ timeframe }}'
                and precedence.source = 'aggregate'
        where
            bucketed.minutes_found = ceil(extract(epoch from bucketed.bar_end - bucketed.bar_start) / 60)
            and bucketed.minutes_with_volume in (0, bucketed.minutes_found)
    {% endmacro %}
