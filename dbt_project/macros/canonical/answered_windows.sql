{#
    The windows after a moment in which every ranked vendor of a symbol has answered, as one multirange, and its end. No row
    if a vendor was never asked, or if none is ranked.
#}
{% macro answered_windows(timeframe, symbol, after) -%}
    select
                range_intersect_agg(sources.windows) as windows,
                upper(range_intersect_agg(sources.windows)) as until
            from (
                select
                    ranked.source,
                    -- a vendor that was never asked has no row here, and a range without bounds would be all of time
                    range_agg(
                        tstzrange(
                            greatest(coverage.window_start, ranked.valid_from), least(coverage.window_end, ranked.valid_to)
                        )
                    ) filter (
                        where
                            coverage.source is not null
                            and greatest(coverage.window_start, ranked.valid_from)
                            < least(coverage.window_end, ranked.valid_to)
                    ) as windows
                from {{ ref('ranked_vendors') }} as ranked
                left join {{ source('raw', 'coverage') }} as coverage
                    on
                        ranked.symbol = coverage.symbol
                        and ranked.timeframe = coverage.timeframe
                        and ranked.source = coverage.source
                        and coalesce(coverage.vendor_symbol, ranked.vendor_symbol) = ranked.vendor_symbol
                        and coverage.dataset = 'bars'
                        and coverage.window_end > coalesce({{ after }}, '-infinity')
                        and canonical.was_known(coverage.asked_at)
                where
                    ranked.symbol = {{ symbol }}
                    and ranked.timeframe = {{ timeframe }}
                    -- who tells no volume cannot tell that there was none
                    and ranked.volume_rank is not null
                group by ranked.source
            ) as sources
            having bool_and(sources.windows is not null)
{%- endmacro %}
