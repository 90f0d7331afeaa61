-- Entries of one day are one payment where the bars plainly show the largest alone: the others are contained in it.

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

-- histories were judged by the function before, and features stand on them
update canonical.live_builds set definition = '' where model ~ '^(ohlcv|features)_';
