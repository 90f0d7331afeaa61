with fills as (
    select * from {{ ref('stg_ledger__fills') }}
),

activities as (
    select * from {{ ref('stg_ledger__activities') }}
),

bars as (
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

-- calendars end their days at different hours: a date has one moment for the whole account, the last of these
moments as (
    select
        spans.account_id,
        bars.session_date,
        max(bars.bar_end) as valued_at
    from spans
    inner join traded on spans.account_id = traded.account_id
    inner join bars on traded.symbol = bars.symbol and spans.first_moved_at <= bars.bar_end
    group by spans.account_id, bars.session_date
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

held as (
    select
        counted.account_id,
        counted.session_date,
        counted.valued_at,
        counted.epoch_no,
        movements.symbol,
        sum(movements.quantity) as quantity,
        sum(movements.cash) as cash,
        sum(movements.moved_in) as moved_in
    from counted
    inner join movements
        on
            counted.account_id = movements.account_id and counted.epoch_no = movements.epoch_no
            and counted.valued_at >= movements.moved_at
    group by counted.account_id, counted.session_date, counted.valued_at, counted.epoch_no, movements.symbol
),

valued as (
    select
        held.account_id,
        held.session_date,
        held.valued_at,
        held.epoch_no,
        sum(held.moved_in) as moved_in,
        sum(held.cash) as cash,
        sum(coalesce(held.quantity * newest.close, 0)) as invested
    from held
    left join apart on held.account_id = apart.account_id and held.symbol = apart.symbol
    left join lateral (
        select bars.close
        from bars
        where apart.symbol is null and bars.symbol = held.symbol and bars.bar_end <= held.valued_at
        order by bars.bar_start desc
        limit 1
    ) as newest on true
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
