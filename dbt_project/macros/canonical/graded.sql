{# The judgement walks through the rows in order and carries the last published price along. #}
{% macro checked(timeframe) %}
        select
            witnessed.*,
            decisions.decision,
            canonical.judge(
                row(
                    witnessed.bar_no, witnessed.session_date, witnessed.is_level, witnessed.is_traded, witnessed.open,
                    witnessed.high, witnessed.low, witnessed.close, witnessed.traded_volume, witnessed.largest_move,
                    witnessed.largest_fall, witnessed.news_value, witnessed.others_high, witnessed.others_low,
                    witnessed.next_low, witnessed.next_high, witnessed.next_factor, witnessed.second_low,
                    witnessed.second_high, witnessed.second_factor, {{ reappears(timeframe) }}, witnessed.unsettled,
                    case
                        when decisions.price_decision = 'replace' and witnessed.source = 'confirmations' then 'accept'
                        when decisions.price_decision = 'replace' then 'reject'
                        when witnessed.source = coalesce(decisions.price_source, witnessed.source)
                            then decisions.price_decision
                    end,
                    decisions.action_decision, decisions.identity_decision, decisions.ratio
                )::canonical.offered_price,
                (select dates from listed_splits),
                (select ratios from listed_splits),
                (select dates from listed_cash),
                (select amounts from listed_cash)
            ) over (order by witnessed.bar_no, witnessed.rank) as judged
        from witnessed
        left join decisions on witnessed.bar_no = decisions.bar_no and not witnessed.is_level
    {% endmacro %}


{# Every row with the reason why it is not published, null for one that may be. #}
{% macro graded() %}
        select
            source, rank, volume_rank, vendor_start, session_date, bar_start, bar_end, bar_no, open, high, low, close,
            volume, is_volume_estimated, revision, landed_at, is_silent, is_traded,
            is_late or (judged).is_late as is_late,
            is_range_doubtful or (judged).is_range_doubtful as is_range_doubtful,
            is_step_doubtful or (judged).doubt is not null as is_step_doubtful,
            (judged).split_ratio,
            (judged).dividend_factor,
            (judged).unsettled as unsettled_split,
            decision,
            (judged).verdict as quarantine_reason
        from checked
        where not is_level
        union all
        select
            source, rank, volume_rank, vendor_start, session_date, bar_start, bar_end, bar_no, open, high, low, close,
            volume, is_volume_estimated, revision, landed_at, is_silent, false, is_late, is_range_doubtful,
            is_step_doubtful, 1, 1, null, null, fault as quarantine_reason
        from judged
        where fault is not null
    {% endmacro %}
