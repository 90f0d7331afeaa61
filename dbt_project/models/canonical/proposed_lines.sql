{{ config(materialized='view') }}

with instruments as (
    select * from {{ ref('instruments') }}
),

known_names as (
    select
        symbol,
        vendor_symbol,
        valid_from,
        valid_to
    from {{ ref('vendor_symbols') }}
    where vendor = 'polygon' and symbol is not null and vendor_symbol is not null
),

-- The identity that the vendor named first while the instrument had this name. Without one, no name is proposed.
identities as (
    select distinct on (known_names.symbol)
        known_names.symbol,
        tickers.figi
    from known_names
    inner join {{ ref('stg_polygon__tickers') }} as tickers
        on
            known_names.vendor_symbol = tickers.vendor_symbol
            and tickers.landed_at >= coalesce(known_names.valid_from, '-infinity'::date)
            and tickers.landed_at < coalesce(known_names.valid_to, 'infinity'::date)
    order by known_names.symbol, tickers.landed_at
),

told_names as (
    select
        identities.symbol,
        told.vendor_symbol,
        told.valid_from,
        told.valid_to,
        told.landed_at
    from identities
    inner join {{ ref('stg_polygon__names') }} as told on identities.figi = told.figi
),

proposed_names as (
    select
        told_names.symbol,
        'vendor_symbols.csv' as seed,
        concat_ws(
            ',',
            told_names.symbol,
            'polygon',
            told_names.vendor_symbol,
            coalesce(told_names.valid_from::text, ''),
            coalesce(told_names.valid_to::text, '')
        ) as seed_line,
        concat_ws(
            ' ',
            'Polygon says that it was called',
            told_names.vendor_symbol,
            'from ' || told_names.valid_from,
            'until the day before ' || told_names.valid_to
        ) as reason,
        told_names.landed_at
    from told_names
    left join known_names
        on
            told_names.symbol = known_names.symbol
            and told_names.vendor_symbol = known_names.vendor_symbol
            and coalesce(told_names.valid_from, known_names.valid_from) is not distinct from known_names.valid_from
            and told_names.valid_to is not distinct from known_names.valid_to
    where known_names.symbol is null
),

told_listings as (
    select distinct on (identities.symbol)
        identities.symbol,
        tickers.is_listed,
        tickers.listed_on,
        tickers.delisted_on,
        tickers.landed_at
    from identities
    inner join {{ ref('stg_polygon__tickers') }} as tickers on identities.figi = tickers.figi
    order by identities.symbol asc, tickers.landed_at desc
),

-- the day of a listing matters where it is in the seed already, and where bars are older than it
listings as (
    select
        instruments.*,
        told_listings.landed_at,
        case
            when told_listings.listed_on <> instruments.listed_on then told_listings.listed_on
            when
                instruments.listed_on is null
                and told_listings.listed_on > (
                    select bars.session_date
                    from {{ ref('ohlcv_1d') }} as bars
                    where bars.symbol = instruments.symbol
                    order by bars.bar_start
                    limit 1
                )
                then told_listings.listed_on
        end as new_listed_on,
        case
            when told_listings.is_listed = false then nullif(told_listings.delisted_on, instruments.delisted_on)
        end as new_delisted_on
    from told_listings
    inner join instruments on told_listings.symbol = instruments.symbol
),

proposed_lives as (
    select
        symbol,
        'instruments.csv' as seed,
        concat_ws(
            ',',
            symbol,
            asset_class,
            calendar,
            price_decimals::text,
            lot_size::text,
            is_synthetic::text,
            case
                when description ~ '[,"\n]' then '"' || replace(description, '"', '""') || '"'
                else coalesce(description, '')
            end,
            coalesce(coalesce(new_listed_on, listed_on)::text, ''),
            coalesce(coalesce(new_delisted_on, delisted_on)::text, ''),
            coalesce(delisting_return::text, '')
        ) as seed_line,
        concat_ws(
            ' and ',
            'Polygon says that it was listed on ' || new_listed_on,
            case when new_listed_on is null then 'Polygon says that it ' else 'that it ' end
            || 'did not trade any more on ' || new_delisted_on
        ) as reason,
        landed_at
    from listings
    where new_listed_on is not null or new_delisted_on is not null
)

select * from proposed_names
union all
select * from proposed_lives
