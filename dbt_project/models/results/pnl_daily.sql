with equity as (
    select * from {{ ref('equity') }}
),

changes as (
    select
        account_id,
        session_date,
        epoch_no,
        equity,
        moved_in - lag(moved_in) over of_epoch as moved_in,
        lag(equity) over of_epoch as equity_before
    from equity
    window of_epoch as (partition by account_id, epoch_no order by session_date)
),

gains as (
    select
        account_id,
        session_date,
        epoch_no,
        equity,
        moved_in,
        equity - equity_before - moved_in as pnl,
        round((equity - equity_before - moved_in) / nullif(equity_before + moved_in, 0), 10) as daily_return
    from changes
),

grown as (
    select
        *,
        coalesce(sum(pnl) over so_far, 0) as total_pnl,
        -- losing everything ends it: a logarithm has no room for that, nor a float for e to the power of -746
        exp(greatest(sum(ln(greatest(1 + coalesce(daily_return, 0), 1e-9))::float8) over so_far, -700)) as wealth
    from gains
    window so_far as (partition by account_id, epoch_no order by session_date)
),

fallen as (
    select
        account_id,
        session_date,
        epoch_no,
        equity,
        moved_in,
        pnl,
        daily_return,
        total_pnl,
        round(
            (1 - wealth / max(wealth) over (partition by account_id, epoch_no order by session_date))::numeric, 10
        ) as drawdown
    from grown
)

select * from fallen
