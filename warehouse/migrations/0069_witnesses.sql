-- A witness may be false itself. Where the bar after a crash is far from everything, the one after that tells; and one bar in
-- the old unit does not end what is held.

create or replace function canonical.goes_on(base float8, offer canonical.offered_price) returns boolean
language sql immutable parallel safe as
$$
    select canonical.stays(base, offer.close, offer.next_low, offer.next_high)
        or canonical.stays(
            base, offer.close, offer.next_low * offer.next_factor, offer.next_high * offer.next_factor
        )
        or coalesce(
            (
                offer.next_low > greatest(base, offer.close) * offer.largest_move
                or offer.next_high < least(base, offer.close) / offer.largest_move
            )
            and (
                canonical.stays(base, offer.close, offer.second_low, offer.second_high)
                or canonical.stays(
                    base, offer.close, offer.second_low * offer.second_factor, offer.second_high * offer.second_factor
                )
            ),
            false
        )
$$;
comment on function canonical.goes_on is
'Whether what was traded next stays where the price went, in this day''s shares whether or not a listed split between has shown; where the next bar is far from either price, the one after it. Null while nothing was.';

-- Whether the row of a bar may be published, by its price; `base` is the price before it in the shares of its day.
create or replace function canonical.judge_price(
    judged canonical.judgement, offer canonical.offered_price, base float8
) returns canonical.judgement
language plpgsql immutable parallel safe as
$$
declare
    move constant float8 := offer.largest_move;
    is_near constant boolean := offer.high <= base * move and offer.low >= base / move;
    is_alone constant boolean := offer.others_high is null;
    is_covered constant boolean := offer.others_high * move >= offer.high and offer.others_low <= offer.low * move;
begin
    if offer.price_decision = 'reject' then
        judged.verdict := 'a person rejected it';
        return judged;
    elsif offer.identity_decision = 'reject' then
        judged.held := 'another instrument, a person says';
    elsif num_nonnulls(offer.price_decision, offer.action_decision, offer.identity_decision) > 0 then
        judged.held := null;
        judged.is_late := is_near is not true;
        return judged;
    elsif offer.reappears then
        judged.held := coalesce(judged.held, 'reappears after a silence that nothing explains');
    elsif is_near
        and judged.held in ('unit error of 100', 'step by a power of ten after a hole')
        -- one bar in the old unit may be an error of its own: the price is back when the next bar is
        and canonical.is_followed(offer.close, offer.next_low, offer.next_high, offer.next_factor, move)
    then
        judged.held := null;
    end if;

    if judged.held is not null then
        judged.verdict := judged.held;
    elsif base is null then
        judged.verdict := case
            when offer.is_traded then canonical.first_verdict(offer, is_covered) else 'no price to compare with'
        end;
        judged.is_late := is_alone;
    elsif not is_near and not offer.is_traded then
        judged.verdict := 'far price at which nobody traded';
    elsif not is_near then
        judged.verdict := canonical.far_verdict(base, judged.base_no, offer, is_covered);
        judged.is_late := is_alone and not canonical.is_near(offer.close, base, move);
        -- a unit that lasts stays wrong however far the price drifts in it
        if judged.verdict = 'step by a power of ten after a hole'
            or judged.verdict = 'unit error of 100' and is_alone and canonical.goes_on(base, offer)
        then
            judged.held := judged.verdict;
        end if;
    end if;
    judged.is_range_doubtful := judged.verdict is null and is_alone and not coalesce(is_near, false)
        and (
            offer.low * move < least(base, offer.close) or offer.high > greatest(base, offer.close) * move
            or judged.is_late and base is not null and not canonical.goes_on(base, offer)
        );
    return judged;
end
$$;

-- histories were judged by the functions before, and features stand on them
update canonical.live_builds set definition = '' where model ~ '^(ohlcv|features)_';
