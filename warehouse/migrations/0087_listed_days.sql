-- On most days nothing is listed. The dates are sorted, so that is known from the places of two days among them, without a
-- query for each bar. Every value is the same as before, so no history is judged anew.

-- Splits that are due with a bar, against what the bar shows; `judged.base` is the price before it.
create or replace function canonical.judge_splits(
    judged canonical.judgement, open float8, session_date date, dates date[], ratios float8[]
) returns canonical.judgement
language plpgsql immutable parallel safe as
$$
declare
    -- a split may show so many days before or after the one that it is listed for
    days_around constant integer := 6;
    -- a smaller one cannot be seen among what prices do overnight: it is believed
    visible constant float8 := ln(1.1);
    step float8 := ln(judged.base / open);
    waiting float8 := judged.base_unsettled;
    due float8[];
    ratio float8;
begin
    -- nothing waits, and nothing is listed until the last day that could show today
    if waiting = 1
        and (dates is null or width_bucket(session_date + days_around, dates) = width_bucket(judged.base_date, dates))
    then
        judged.split_ratio := 1;
        judged.unsettled := 1;
        return judged;
    end if;
    due := canonical.split_options(dates, ratios, judged.base_date, session_date);
    if waiting <> 1
        and canonical.split_options(dates, ratios, session_date - days_around - 1, session_date + days_around) is null
    then
        waiting := 1;
    end if;
    -- what waits may be what is listed now, or come on top
    select option into ratio
    from (
        select waiting as option where due is null or waiting <> 1
        union select unnest(due)
        union select waiting * listed from unnest(due) as listed
    ) as options
    order by abs(step - ln(option)), option
    limit 1;
    judged.unsettled := ratio;
    if abs(ln(ratio)) < visible or abs(step - ln(ratio)) < abs(step) then
        judged.split_ratio := ratio;
        judged.unsettled := 1;
        if ratio <> 1 then
            return judged;
        end if;
    elsif due is not null then
        judged.doubt := 'a listed split does not show';
    end if;
    -- one that is listed for a later day shows today
    select option into ratio
    from unnest(canonical.split_options(dates, ratios, session_date, session_date + days_around)) as option
    where abs(ln(option)) >= visible and abs(step - ln(option)) < abs(ln(option)) / 4
    order by abs(step - ln(option)), option
    limit 1;
    if found then
        judged.split_ratio := ratio;
        judged.unsettled := judged.unsettled / ratio;
        judged.doubt := null;
    end if;
    return judged;
end
$$;

-- Dividends that are due with a bar, and what is left of its step when all that is listed is taken off.
create or replace function canonical.judge_cash(
    judged canonical.judgement, offer canonical.offered_price, dates date[], amounts float8[]
) returns canonical.judgement
language plpgsql immutable parallel safe as
$$
declare
    -- a smaller one cannot be seen: it is believed
    visible constant float8 := 1.15;
    price float8 := judged.base / judged.split_ratio;
    step float8 := ln(price / offer.open);
    cash float8;
    without float8;
    smaller float8;
    is_known boolean;
    factor float8;
    times float8;
begin
    if width_bucket(offer.session_date, dates) > width_bucket(judged.base_date, dates) then
        select sum(amount), bool_and(amount is not null) into cash, is_known
        from unnest(dates, amounts) as listed (listed_for, amount)
        where listed_for > judged.base_date and listed_for <= offer.session_date;
        if not is_known then
            judged.doubt := 'a dividend in a currency without a rate';
        end if;
        -- a fund's payment may be entered as a whole, and once more as the capital gains in it; two true payments are as likely, so
        -- what would look the same with both of them is believed
        for smaller in
            select sum(amount) - max(amount)
            from unnest(dates, amounts) as listed (listed_for, amount)
            where listed_for > judged.base_date and listed_for <= offer.session_date
            group by listed_for
            having sum(amount) > max(amount)
            order by listed_for
        loop
            without := cash - smaller;
            if without < price and (price - without) / greatest(price - cash, 1e-9 * price) >= visible
                and abs(step - ln(price / (price - without))) < abs(step - ln(price / greatest(price - cash, 1e-9 * price)))
            then
                cash := without;
            end if;
        end loop;
    end if;
    if cash >= price then
        judged.doubt := 'a dividend as large as the price before it';
    elsif cash > 0 then
        factor := price / (price - cash);
        if factor < visible or abs(step - ln(factor)) < abs(step) then
            judged.dividend_factor := factor;
        else
            judged.doubt := 'a listed dividend does not show';
        end if;
    end if;

    step := step - ln(judged.dividend_factor);
    times := round(exp(abs(step)));
    -- an action stays to the end of the bar, a wick goes back
    if judged.doubt is not null or abs(step + ln(offer.open / offer.close)) < abs(step) / 2 then
        return judged;
    -- bad news makes a crowd; an action leaves the value that changes hands about as it was
    elsif step > 0 and offer.volume * offer.close > offer.news_value * judged.base_volume * judged.base then
        return judged;
    elsif step > ln(offer.largest_fall) then
        judged.doubt := 'a fall that nothing listed explains';
    elsif times >= 2 and abs(exp(abs(step)) / times - 1) < 0.06
        and coalesce(
            case when step > 0
                then offer.volume >= judged.base_volume
                else offer.volume <= judged.base_volume
            end, true
        )
    then
        judged.doubt := 'a step like a split''s, and none is listed';
    end if;
    return judged;
end
$$;
