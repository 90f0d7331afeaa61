-- Splits that are listed for the days of a hole are taken together, and a vendor may list more of them than a float can hold.
-- Every value within the bounds is the same as before, so no history is judged anew.
create or replace function canonical.split_options(dates date[], ratios float8[], after date, until date) returns float8[]
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
            select distinct least(greatest(before * ratio, 1e-100::float8), 1e100::float8)
            from unnest(coalesce(options, array[1::float8])) as before
            cross join unnest(of_day) as ratio
            order by 1
            limit 64
        );
    end loop;
    return options;
end
$$;
comment on function canonical.split_options is
'What the entries of splits after one date and until another may mean together, each between 1e-100 and 1e100; null where there are none.';
