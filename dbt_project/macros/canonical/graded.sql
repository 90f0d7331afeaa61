{# The price check walks through the bars in order and carries the last accepted level along. #}
{% macro checked() %}
        select
            *,
            canonical.check_price(
                bar_no, share_high, share_low, share_close, largest_move, has_witness, is_followed
            ) over (order by bar_no, rank) as price_check
        from witnessed
    {% endmacro %}


{# Every row with the reason why it is not published, null for one that may be. #}
{% macro graded() %}
        select
            source, rank, volume_rank, vendor_start, session_date, bar_start, bar_end, bar_no, open, high, low, close,
            volume, is_volume_estimated, revision, landed_at, is_silent,
            is_late or ((price_check).needed_witness and is_alone) as is_late,
            (price_check).verdict as quarantine_reason
        from checked
        where not is_level
        union all
        select
            source, rank, volume_rank, vendor_start, session_date, bar_start, bar_end, bar_no, open, high, low, close,
            volume, is_volume_estimated, revision, landed_at, is_silent, is_late, fault as quarantine_reason
        from judged
        where fault is not null
    {% endmacro %}
