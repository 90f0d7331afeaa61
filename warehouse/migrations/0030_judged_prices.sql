-- How a price is judged: after the last one that was published, beside what other sources say of the same bar and what
-- was traded next. Corporate actions are judged by the same walk, because each changes what a price is compared with.

create type canonical.judgement as (
    bar_no integer,
    base float8,
    base_no integer,
    base_date date,
    base_volume float8,
    base_unsettled float8,
    level float8,
    level_no integer,
    level_date date,
    level_volume float8,
    level_unsettled float8,
    unsettled float8,
    is_settled boolean,
    held text,
    verdict text,
    is_late boolean,
    is_range_doubtful boolean,
    split_ratio float8,
    dividend_factor float8,
    doubt text
);
comment on type canonical.judgement is
'base: the newest published price before this bar, in the shares of its day; level: the one including this bar, of the best ranked source. verdict: why the row is not published, or null. held: why nothing is published until a person decides. doubt: why the step from the bar before is not sure.';
comment on column canonical.judgement.base_no is 'the newest bar in which somebody traded';
comment on column canonical.judgement.unsettled is
'Listed split ratios over those that the bars have shown: 2 while a listed 2-for-1 has not shown, 0.5 when it showed before its day.';

create function canonical.is_near(price float8, other float8, largest_move float8) returns boolean
language sql immutable parallel safe as
$$ select price <= other * largest_move and price >= other / largest_move $$;
comment on function canonical.is_near is 'Whether a price lies as near to another as a price may move in one bar.';

create function canonical.stays(base float8, close float8, next_low float8, next_high float8) returns boolean
language sql immutable parallel safe as
$$
    select case when close > base then next_low >= sqrt(base * close) else next_high <= sqrt(base * close) end
$$;
comment on function canonical.stays is
'A crash goes away and on, a bad tick goes away and back: whether what was traded next is nearer to where the price went than to where it came from. next_low and next_high are the opens of all sources.';

-- What the entries of splits after one date and until another may mean together, null where there are none. Two entries of
-- one day are at most one event, so each of them is an option; entries of different days follow each other.
create function canonical.split_options(dates date[], ratios float8[], after date, until date) returns float8[]
language plpgsql immutable parallel safe as
$$
declare
    options float8[];
    of_day float8[];
    listed_day date;
begin
    for listed_day in
        select distinct day from unnest(dates) as listed (day) where day > after and day <= until order by day
    loop
        of_day := array(
            select distinct ratio from unnest(dates, ratios) as listed (day, ratio) where day = listed_day order by ratio
        );
        -- no more than a person would want to look through, whatever a vendor sends
        options := array(
            select distinct before * ratio
            from unnest(coalesce(options, array[1::float8])) as before
            cross join unnest(of_day) as ratio
            order by 1
            limit 64
        );
    end loop;
    return options;
end
$$;

create type canonical.offered_price as (
    bar_no integer,
    session_date date,
    is_level boolean,
    is_traded boolean,
    open float8,
    high float8,
    low float8,
    close float8,
    volume float8,
    largest_move float8,
    largest_fall float8,
    news_value float8,
    others_high float8,
    others_low float8,
    next_low float8,
    next_high float8,
    next_factor float8,
    second_low float8,
    second_high float8,
    second_factor float8,
    reappears boolean,
    unsettled float8,
    price_decision text,
    action_decision text,
    identity_decision text,
    decided_ratio float8
);
comment on type canonical.offered_price is
'What a source says of a bar, and what is known around it. is_level: the newest bar of the history, with unsettled as stored there. others_high, others_low: of the other sources of the bar, null where there are none. next_low, next_high: the opens of the next traded bar, second_… of the one after it; factor: listed splits between.';

-- Splits that are due with a bar, against what the bar shows; `judged.base` is the price before it.
create function canonical.judge_splits(
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
    due float8[] := canonical.split_options(dates, ratios, judged.base_date, session_date);
    ratio float8;
begin
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
create function canonical.judge_cash(
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
    is_known boolean;
    factor float8;
    times float8;
begin
    select sum(amount), bool_and(amount is not null) into cash, is_known
    from unnest(dates, amounts) as listed (day, amount)
    where day > judged.base_date and day <= offer.session_date;
    if not is_known then
        judged.doubt := 'a dividend in a currency without a rate';
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

create function canonical.goes_on(base float8, offer canonical.offered_price) returns boolean
language sql immutable parallel safe as
$$
    select canonical.stays(base, offer.close, offer.next_low, offer.next_high)
        or canonical.stays(
            base, offer.close, offer.next_low * offer.next_factor, offer.next_high * offer.next_factor
        )
$$;
comment on function canonical.goes_on is
'Whether what was traded next stays where the price went, in this day''s shares whether or not a listed split between has shown. Null while nothing was.';

create function canonical.is_inside(base float8, offer canonical.offered_price) returns boolean
language sql immutable parallel safe as
$$
    select case
        when offer.close > base then offer.high > 1.02 * offer.close and offer.low <= base * offer.largest_move
        else offer.low < offer.close / 1.02 and offer.high >= base / offer.largest_move
    end
$$;
comment on function canonical.is_inside is
'Whether a far close lies inside of what was traded in its bar, from near the last price to beyond: a false close is an end of its range.';

create function canonical.is_followed(close float8, low float8, high float8, factor float8, move float8) returns boolean
language sql immutable parallel safe as
$$
    select (canonical.is_near(low, close, move) and canonical.is_near(high, close, move))
        or (canonical.is_near(low * factor, close, move) and canonical.is_near(high * factor, close, move))
$$;

-- A price that nothing published stands before: other sources, or one of the next two bars, have to agree.
create function canonical.first_verdict(offer canonical.offered_price, is_covered boolean) returns text
language sql immutable parallel safe as
$$
    select case
        when is_covered then null
        when canonical.is_followed(
            offer.close, offer.next_low, offer.next_high, offer.next_factor, offer.largest_move
        ) then null
        when canonical.is_followed(
            offer.close, offer.second_low, offer.second_high, offer.second_factor, offer.largest_move
        ) then null
        when offer.others_high is not null then 'sources contradict each other'
        else 'no price to compare with'
    end
$$;

-- A price farther than one may move. Other sources of the bar decide, and where there are none, what was traded next.
create function canonical.far_verdict(
    base float8, base_no integer, offer canonical.offered_price, is_covered boolean
) returns text
language plpgsql immutable parallel safe as
$$
declare
    -- how many powers of ten the price went
    power float8 := round(abs(log(offer.close / base)));
    is_power boolean := power > 0 and canonical.is_near(exp(abs(ln(offer.close / base))), 10 ^ power, offer.largest_move);
    is_after_hole boolean := offer.bar_no - base_no > 1;
    verdict text;
begin
    if is_power and power = 2 and not is_after_hole then
        return 'unit error of 100';
    end if;
    verdict := case
        when is_covered then null
        when offer.others_high is not null then 'spike that another source contradicts'
        when canonical.is_near(offer.close, base, offer.largest_move) then null
        when offer.next_low is null then 'jump that only the next traded bar can judge'
        when not (canonical.goes_on(base, offer) or canonical.is_inside(base, offer)) then 'spike that nothing confirms'
    end;
    return case when verdict is null and is_power and is_after_hole then 'step by a power of ten after a hole' else verdict end;
end
$$;

-- Whether the row of a bar may be published, by its price; `base` is the price before it in the shares of its day.
create function canonical.judge_price(
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
    elsif is_near and judged.held in ('unit error of 100', 'step by a power of ten after a hole') then
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

create function canonical.judge_step(
    state canonical.judgement, offer canonical.offered_price,
    split_dates date[], split_ratios float8[], cash_dates date[], cash_amounts float8[]
) returns canonical.judgement
language plpgsql immutable parallel safe as
$$
declare
    judged canonical.judgement := state;
    base float8;
begin
    if judged.bar_no is distinct from offer.bar_no then
        judged.bar_no := offer.bar_no;
        judged.base := judged.level;
        judged.base_no := judged.level_no;
        judged.base_date := judged.level_date;
        judged.base_volume := judged.level_volume;
        judged.base_unsettled := judged.level_unsettled;
        judged.is_settled := false;
    end if;
    judged.verdict := null;
    judged.is_late := false;
    judged.is_range_doubtful := false;
    judged.split_ratio := 1;
    judged.dividend_factor := 1;
    judged.doubt := null;
    judged.unsettled := judged.base_unsettled;

    if offer.is_level then
        judged.unsettled := offer.unsettled;
    elsif offer.action_decision is not null then
        judged.split_ratio := coalesce(offer.decided_ratio, 1);
        judged.unsettled := 1;
    elsif offer.is_traded and offer.session_date > judged.base_date then
        judged := canonical.judge_splits(judged, offer.open, offer.session_date, split_dates, split_ratios);
        judged := canonical.judge_cash(judged, offer, cash_dates, cash_amounts);
    end if;
    base := judged.base / (judged.split_ratio * judged.dividend_factor);
    if not offer.is_level then
        judged := canonical.judge_price(judged, offer, base);
    end if;

    if judged.verdict is null and not judged.is_settled then
        judged.is_settled := true;
        judged.held := null;
        judged.level := offer.close;
        judged.level_unsettled := coalesce(judged.unsettled, 1);
        -- a bar in which nobody traded takes no split and no dividend with it
        if offer.is_traded or offer.is_level then
            judged.level_no := offer.bar_no;
            judged.level_date := offer.session_date;
            judged.level_volume := coalesce(offer.volume, judged.level_volume);
        end if;
    end if;
    return judged;
end
$$;

create aggregate canonical.judge(canonical.offered_price, date[], float8[], date[], float8[]) (
    sfunc = canonical.judge_step, stype = canonical.judgement
);
comment on aggregate canonical.judge(canonical.offered_price, date[], float8[], date[], float8[]) is
'Over rows in the order of bars and ranks: the judgement of each, with the dates and ratios of listed splits and the dates and amounts of dividends, null where there is no rate for the currency.';

create function canonical.newest_step(state float8, x float8) returns float8
language sql immutable parallel safe as $$ select coalesce(x, state) $$;
create aggregate canonical.newest(float8) (sfunc = canonical.newest_step, stype = float8, parallel = safe);
comment on aggregate canonical.newest(float8) is 'The newest value so far that is not null.';

create function canonical.moment_of(written text) returns timestamptz
language plpgsql stable set timezone = 'UTC' as
$$
begin
    return written::timestamptz;
exception when others then
    return null;
end
$$;
comment on function canonical.moment_of is 'What a person wrote as a date or a moment, UTC where no zone is given; null for anything else.';
