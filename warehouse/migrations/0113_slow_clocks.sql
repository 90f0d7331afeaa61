-- A revision lands after the one that it revises, whatever the database's clock says: a clock that was set back, or had been
-- fast, would date a correction before what it corrects, and the old value would stay the newest one.

-- The first argument names the columns of which rows are revisions. With a second one each statement is looked at; without it
-- only one that ends before the table's newest landing, which no clock that goes forward ever leaves behind.
create function raw.follow_newest() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp as
$$
begin
    if tg_nargs = 1 and coalesce(
        (select max(landed_at) from landed)
        > (select max(landings.landed_at) from raw.landings as landings where landings.relation = tg_table_name),
        true
    ) then
        return null;
    end if;
    execute format(
        'with revised as (
            select %2$s, min(landed_at) as first_landed_at from landed group by %2$s
        ),
        early as (
            select
                revised.*,
                newest.landed_at - revised.first_landed_at + interval ''1 microsecond'' as by_how_much
            from revised
            cross join lateral (
                select max(known.landed_at) as landed_at
                from raw.%1$I as known
                where (%3$s) = (%4$s)
                    and not exists (
                        select from landed where (%2$s) = (%4$s) and landed.landed_at = known.landed_at
                    )
            ) as newest
            where newest.landed_at >= revised.first_landed_at
        )
        update raw.%1$I as known
        set landed_at = known.landed_at + early.by_how_much
        from early
        inner join landed using (%2$s)
        where (%3$s) = (%5$s) and known.landed_at = landed.landed_at',
        tg_table_name,
        tg_argv[0],
        'known.' || replace(tg_argv[0], ', ', ', known.'),
        'revised.' || replace(tg_argv[0], ', ', ', revised.'),
        'early.' || replace(tg_argv[0], ', ', ', early.')
    );
    return null;
end
$$;
comment on function raw.follow_newest is 'Dates a revision after the one before it, where the clock would date it earlier.';
revoke execute on function raw.follow_newest() from public;

do $$
declare
    named record;
begin
    for named in
        select * from (values
            ('polygon_aggregates', 'ticker, multiplier, timespan, t', false),
            ('polygon_splits', 'id', false),
            ('polygon_dividends', 'id', false),
            ('binance_klines', 'symbol, interval, open_time', false),
            ('geckoterminal_ohlcv', 'network, pool_address, timeframe, aggregate, currency, t', false),
            ('coingecko_ohlc', 'coin_id, vs_currency, granularity, close_time', false),
            ('vendor_bars', 'source, vendor_symbol, timeframe, bar_start', false),
            -- what is said of names is no landing that is noted
            ('polygon_tickers', 'ticker', true),
            ('polygon_ticker_events', 'composite_figi', true)
        ) as tables (relation, its_key, is_unnoted)
    loop
        execute format(
            'create trigger follow_newest after insert on raw.%I referencing new table as landed
            for each statement execute function raw.follow_newest(%s)',
            named.relation, concat_ws(', ', quote_literal(named.its_key), case when named.is_unnoted then '''unnoted''' end)
        );
    end loop;
end
$$;
