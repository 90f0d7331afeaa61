with fills as (
    select * from {{ ref('stg_ledger__fills') }}
),

activities as (
    select * from {{ ref('stg_ledger__activities') }}
),

bars as not materialized (
    select * from {{ ref('ohlcv_1d') }}
),

epochs as (
    select * from {{ ref('stg_ledger__epochs') }}
),

adoptions as (
    select * from {{ ref('stg_ledger__adoptions') }}
),

reconciliations as (
    select * from {{ ref('stg_ledger__reconciliations') }}
),

booked as (
    select
        activities.account_id,
        activities.symbol,
        coalesce(newest.epoch_no, 0) as epoch_no,
        activities.happened_at as moved_at,
        activities.quantity,
        activities.cash,
        case when activities.kind in ('deposit', 'withdrawal') then activities.cash else 0 end as moved_in
    from activities
    left join lateral (
        select max(epochs.epoch_no) as epoch_no
        from epochs
        where epochs.account_id = activities.account_id and epochs.started_at <= activities.recorded_at
    ) as newest on true
),

-- an adoption has no time of the broker's: it has that of the look that first found what it answers, or of the epoch
-- that it opens
adopted as (
    select
        adoptions.account_id,
        adoptions.symbol,
        coalesce(newest.epoch_no, 0) as epoch_no,
        coalesce(greatest(looks.broker_time, newest.broker_time), adoptions.adopted_at) as moved_at,
        adoptions.quantity,
        adoptions.cash,
        -- what nothing explains is no gain: somebody moved it
        case
            when adoptions.finding in ('opening', 'CashDiffers', 'PositionDiffers')
                then adoptions.cash + coalesce(adoptions.quantity * newest_bars.close, 0)
            else 0
        end as moved_in
    from adoptions
    left join lateral (
        select
            epochs.epoch_no,
            epochs.broker_time
        from epochs
        where epochs.account_id = adoptions.account_id and epochs.started_at <= adoptions.adopted_at
        order by epochs.epoch_no desc
        limit 1
    ) as newest on true
    left join lateral (
        select reconciliations.broker_time
        from reconciliations
        where
            adoptions.finding <> 'opening' and reconciliations.account_id = adoptions.account_id
            and reconciliations.reconciled_at <= adoptions.adopted_at
        order by reconciliations.reconciled_at desc
        limit 1
    ) as looks on true
    left join lateral (
        select bars.close
        from bars
        where
            adoptions.quantity <> 0 and bars.symbol = adoptions.symbol
            and bars.bar_end <= coalesce(greatest(looks.broker_time, newest.broker_time), adoptions.adopted_at)
        order by bars.bar_start desc
        limit 1
    ) as newest_bars on true
    where adoptions.quantity <> 0 or adoptions.cash <> 0
),

apart as (
    select distinct
        adoptions.account_id,
        adoptions.subject as symbol
    from adoptions
    where adoptions.finding = 'apart'
),

movements as (
    select
        account_id,
        symbol,
        epoch_no,
        filled_at as moved_at,
        case side when 'buy' then quantity else -quantity end as quantity,
        case side when 'buy' then -quantity else quantity end * price
        - case when fee_symbol is null then fee else 0 end as cash,
        0 as moved_in
    from fills
    union all
    select
        account_id,
        fee_symbol as symbol,
        epoch_no,
        filled_at as moved_at,
        -fee as quantity,
        0 as cash,
        0 as moved_in
    from fills
    where fee_symbol is not null
    union all
    select * from booked
    union all
    select * from adopted
),

spans as (
    select
        account_id,
        min(moved_at) as first_moved_at
    from movements
    group by account_id
),

traded as (
    select distinct
        account_id,
        symbol
    from movements
    where symbol is not null
),

traded_bars as (
    select
        symbol,
        session_date,
        bar_end,
        close
    from bars
    where symbol = any(array(select traded.symbol from traded))
),

-- calendars end their days at different hours: a date has one moment for the whole account, the last of these
moments as (
    select
        spans.account_id,
        traded_bars.session_date,
        max(traded_bars.bar_end) as valued_at
    from spans
    inner join traded on spans.account_id = traded.account_id
    inner join traded_bars on traded.symbol = traded_bars.symbol and spans.first_moved_at <= traded_bars.bar_end
    group by spans.account_id, traded_bars.session_date
),

-- what was recorded before an epoch counts until it begins
counted as (
    select
        moments.account_id,
        moments.session_date,
        moments.valued_at,
        coalesce(max(epochs.epoch_no), 0) as epoch_no
    from moments
    left join epochs on moments.account_id = epochs.account_id and moments.valued_at >= epochs.broker_time
    group by moments.account_id, moments.session_date, moments.valued_at
),

-- cash moves under no symbol
moved as (
    select distinct
        account_id,
        epoch_no,
        symbol
    from movements
),

-- all that happens to what an account holds of a symbol: it moves, it has a new price, it is valued
events as (
    select
        account_id,
        epoch_no,
        symbol,
        moved_at as happened_at,
        null::date as session_date,
        1 as moves,
        quantity,
        cash,
        moved_in,
        null::numeric as price
    from movements
    union all
    select
        moved.account_id,
        moved.epoch_no,
        moved.symbol,
        traded_bars.bar_end as happened_at,
        null as session_date,
        0 as moves,
        null as quantity,
        null as cash,
        null as moved_in,
        traded_bars.close as price
    from moved
    inner join traded_bars on moved.symbol = traded_bars.symbol
    union all
    select
        counted.account_id,
        counted.epoch_no,
        moved.symbol,
        counted.valued_at as happened_at,
        counted.session_date,
        0 as moves,
        null as quantity,
        null as cash,
        null as moved_in,
        null as price
    from counted
    inner join moved on counted.account_id = moved.account_id and counted.epoch_no = moved.epoch_no
),

held as (
    select
        account_id,
        epoch_no,
        symbol,
        session_date,
        happened_at as valued_at,
        sum(moves) over so_far as moves,
        sum(quantity) over so_far as quantity,
        sum(cash) over so_far as cash,
        sum(moved_in) over so_far as moved_in,
        canonical.newest(price) over so_far as price
    from events
    -- with all that happens at the same moment
    window so_far as (partition by account_id, epoch_no, symbol order by happened_at)
),

valued as (
    select
        held.account_id,
        held.session_date,
        held.valued_at,
        held.epoch_no,
        sum(held.moved_in) as moved_in,
        sum(held.cash) as cash,
        sum(case when apart.symbol is null then coalesce(held.quantity * held.price, 0) else 0 end) as invested
    from held
    left join apart on held.account_id = apart.account_id and held.symbol = apart.symbol
    where held.session_date is not null and held.moves > 0
    group by held.account_id, held.session_date, held.valued_at, held.epoch_no
),

equity as (
    select
        account_id,
        session_date,
        valued_at,
        cash,
        invested,
        cash + invested as equity,
        epoch_no,
        moved_in
    from valued
)

select * from equity
