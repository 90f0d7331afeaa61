-- Each landing leaves one row per vendor, symbol and timeframe, so that "what is new" is asked of these rows and costs the same
-- after ten years of bars as after one day. A trigger writes them: whatever way a row lands, its landing goes with it.

create table raw.landings (
    landing_id bigint generated always as identity primary key,
    relation text not null,
    source text not null,
    vendor_symbol text not null,
    timeframe text,
    first_bar timestamptz not null,
    last_bar timestamptz not null,
    rows_landed bigint not null,
    landed_at timestamptz not null,
    landed_xid xid8 not null
);
comment on table raw.landings is
'One row per statement that landed rows, vendor, symbol and timeframe, written by a trigger in the same transaction.';
comment on column raw.landings.relation is 'the table in raw that the rows are in';
comment on column raw.landings.vendor_symbol is 'as reference.vendor_symbols writes it';
comment on column raw.landings.timeframe is
'as staging writes it; null for splits and dividends, which touch every timeframe';
comment on column raw.landings.first_bar is
'start of the oldest bar that landed, as staging dates it; of an action the beginning of its day in New York';
comment on column raw.landings.landed_at is 'when the newest of the rows was landed';
comment on column raw.landings.landed_xid is 'the transaction, the same that the landed rows carry';
create index on raw.landings (landed_xid);
create index on raw.landings (relation, landed_at);
create index on raw.landings (source, vendor_symbol, timeframe, first_bar);

-- The arguments say in SQL how a table names its source, the vendor's symbol, the timeframe and the start of a bar.
-- A message has to be shorter than 8,000 bytes, and no landing may fail because a vendor's name is longer.
create function raw.note_landing() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp set timezone = 'UTC' as
$$
declare
    landing raw.landings;
begin
    for landing in execute format(
        'insert into raw.landings
        (relation, source, vendor_symbol, timeframe, first_bar, last_bar, rows_landed, landed_at, landed_xid)
        select %1$L, %2$s, %3$s, %4$s, min(%5$s), max(%5$s), count(*), max(landed_at), landed_xid
        from landed group by 2, 3, 4, landed_xid returning *',
        tg_table_name, tg_argv[0], tg_argv[1], tg_argv[2], tg_argv[3]
    ) loop
        perform pg_notify('landings', json_build_object(
            'landing_id', landing.landing_id,
            'source', left(landing.source, 200),
            'vendor_symbol', left(landing.vendor_symbol, 200),
            'timeframe', left(landing.timeframe, 200),
            'first_bar', landing.first_bar,
            'last_bar', landing.last_bar,
            'rows', landing.rows_landed
        )::text);
    end loop;
    return null;
end
$$;
comment on function raw.note_landing is
'Notes what a statement landed in raw.landings, and tells it to whoever listens to the channel landings.';
revoke execute on function raw.note_landing() from public;

-- What landed before gets its rows here. The lock that a trigger takes lets nothing land in between.
do $$
declare
    named record;
begin
    for named in
        select * from (values
            (
                'polygon_aggregates', $q$'polygon'$q$, 'ticker',
                $q$case when multiplier = 1 and timespan in ('minute', 'hour', 'day') then '1' || left(timespan, 1)
                else multiplier || timespan end$q$,
                't'
            ),
            (
                'polygon_splits', $q$'polygon'$q$, 'ticker', 'null::text',
                $q$execution_date::timestamp at time zone 'America/New_York'$q$
            ),
            (
                'polygon_dividends', $q$'polygon'$q$, 'ticker', 'null::text',
                $q$ex_dividend_date::timestamp at time zone 'America/New_York'$q$
            ),
            ('binance_klines', $q$'binance'$q$, 'symbol', 'interval', 'open_time'),
            -- prices in another currency than the token's are nobody's bars
            (
                'geckoterminal_ohlcv', $q$'geckoterminal'$q$,
                $q$concat_ws('/', network, pool_address, nullif(currency, 'token'))$q$,
                $q$aggregate || case when timeframe in ('minute', 'hour', 'day') then left(timeframe, 1) else timeframe end$q$,
                't'
            ),
            -- dated at the candle's close
            (
                'coingecko_ohlc', $q$'coingecko'$q$, $q$coin_id || '/' || vs_currency$q$, 'granularity',
                $q$close_time - case granularity when '30m' then interval '30 minutes' when '1h' then interval '1 hour'
                when '4h' then interval '4 hours' when '1d' then interval '24 hours' else interval '0' end$q$
            ),
            ('vendor_bars', 'source', 'vendor_symbol', 'timeframe', 'bar_start')
        ) as tables (relation, source, vendor_symbol, timeframe, bar_start)
    loop
        execute format(
            'create trigger note_landing after insert on raw.%I referencing new table as landed
            for each statement execute function raw.note_landing(%L, %L, %L, %L)',
            named.relation, named.source, named.vendor_symbol, named.timeframe, named.bar_start
        );
        execute format(
            'insert into raw.landings
            (relation, source, vendor_symbol, timeframe, first_bar, last_bar, rows_landed, landed_at, landed_xid)
            select %1$L, %2$s, %3$s, %4$s, min(%5$s), max(%5$s), count(*), max(landed_at), landed_xid
            from raw.%1$I group by 2, 3, 4, landed_xid order by landed_xid',
            named.relation, named.source, named.vendor_symbol, named.timeframe, named.bar_start
        );
    end loop;
end
$$;

-- an answer without a row is no landing; what is new among answers is found by transaction too
create index on raw.coverage (landed_xid);

grant select on raw.landings to loader;
