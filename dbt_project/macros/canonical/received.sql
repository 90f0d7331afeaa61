{#
    What the ranked vendors sent of bars after the watermark.

    `after` is the moment after which a vendor may date such a bar. A vendor's day begins up to a day before the session's
    open, so for daily bars it lies a day before the watermark.
#}
{% macro received(timeframe, after) %}
        select
            bars.*,
            precedence.rank,
            precedence.volume_rank
        from {{ ref('int_vendor_bars') }} as bars
        inner join {{ ref('precedence') }} as precedence
            on
                precedence.asset_class = watermarks.asset_class
                and precedence.timeframe = '{{ timeframe }}'
                and precedence.source = bars.source
        where
            bars.symbol = watermarks.symbol
            and bars.timeframe = '{{ timeframe }}'
            and bars.vendor_start > coalesce({{ after }}, '-infinity')
    {% endmacro %}
