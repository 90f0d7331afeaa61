"""Every query of the report. The site shows each beside its rows, so that a person can go on from there.

Those of many hypotheses or trials take a list: the site asks once for a whole page, and shows the query of one.
"""

# what must exist before anything can be said
RELATIONS = (
    *("results.leaderboard", "results.trial_sheets", "results.gate_report", "results.equity_curve"),
    "results.trial_periods",
    *("results.accounts", "results.positions", "results.model_positions", "results.halts"),
    *("results.reconciliations", "results.refusals"),
    *("results.execution_quality", "results.equity", "results.paper_record", "results.parity", "results.feeds"),
    *("results.paper_vs_backtest", "results.crosses", "canonical.ohlcv_1d"),
    *("results.drift", "results.calibration", "results.model_features", "results.expected_returns"),
    *("results.shadow", "results.shadow_decisions"),
    *("results.data_health", "features.freshness", "canonical.gaps", "canonical.quarantine"),
    "canonical.suspected_actions",
)

MISSING_RELATIONS = """
select name
from unnest(%(names)s::text[]) as name
where to_regclass(name) is null
"""

LEADERBOARD = """
select
    experiment_id as hypothesis, trial_no as trial, trial_id, array_to_string(symbols, ' ') as symbols, timeframe,
    verdict, net_sharpe, shrunk_sharpe, failed_checks, years_missing, tail_cost, tail_cost_years, look_no as look,
    related_trials, survivors_only,
    model_id as model, model_state, expected_lucky_models, oos_start::date as tried_from, oos_end::date as tried_until,
    parameters, registered_at
from results.leaderboard
order by (verdict = 'PASSED') desc nulls last, net_sharpe desc nulls last, experiment_id asc, trial_id asc
"""

HYPOTHESES = """
select
    experiment_id as hypothesis, count(*) as trials, count(*) filter (where verdict = 'PASSED') as passed,
    count(*) filter (where verdict = 'FAILED') as failed,
    count(*) filter (where verdict = 'INSUFFICIENT_EVIDENCE') as too_little_evidence,
    count(*) filter (where verdict is null) as not_judged, max(net_sharpe) as best_net_sharpe,
    max(shrunk_sharpe) as best_shrunk_sharpe, string_agg(distinct model_id, ' ') as models
from results.leaderboard
group by experiment_id
order by passed desc, best_net_sharpe desc nulls last, experiment_id asc
"""

TRIAL_SHEETS = """
select
    experiment_id as hypothesis, trial_id, trial_no as trial, total_return, benchmark_total_return, drawdown,
    benchmark_drawdown, alpha_per_bar, beta, named_benchmark, named_total_return, named_drawdown, named_alpha_per_bar,
    exposure, turnover, trades, charged, interest, sizing_policy, target_kind,
    horizon, bps_per_side, run_started_at, data_watermark, left_out, parameters, source_file
from results.trial_sheets
where experiment_id = any(%(hypotheses)s)
order by trial_no, trial_id
"""

CHECKS = """
select
    trial_id, look_no as look, tier, check_name as "check", outcome, value, comparison || ' ' || threshold as wanted,
    explanation
from results.gate_report
where trial_id = any(%(trials)s)
order by look_no desc, tier asc, check_name asc
"""

CURVE = """
with days as (
    select
        *,
        row_number() over (partition by trial_id order by day) - 1 as day_no,
        ceil(count(*) over (partition by trial_id) / 180.0)::integer as days_a_point
    from results.equity_curve
    where trial_id = any(%(trials)s)
),

points as (
    select
        trial_id,
        max(day) as day,
        (array_agg(wealth order by day desc))[1] as wealth,
        (array_agg(benchmark_wealth order by day desc))[1] as buy_and_hold,
        max(drawdown) as drawdown,
        max(benchmark_drawdown) as drawdown_of_buy_and_hold,
        sum(ln(greatest(1 + net_return, 1e-9))) as earned
    from days
    group by trial_id, day_no / days_a_point
)

select
    trial_id,
    day,
    wealth,
    buy_and_hold,
    drawdown,
    drawdown_of_buy_and_hold,
    case
        when day - min(day) over (partition by trial_id) >= 360
            then sum(earned) over a_year / nullif(stddev_samp(earned) over a_year * sqrt(count(*) over a_year), 0)
    end as sharpe_of_a_year
from points
window a_year as (partition by trial_id order by day range between interval '1 year' preceding and current row)
order by trial_id, day
"""

MONTHS = """
select
    trial_id,
    date_trunc('month', day)::date as month,
    exp(greatest(sum(ln(greatest(1 + net_return, 1e-9))), -700)) - 1 as net_return,
    exp(greatest(sum(ln(greatest(1 + benchmark_return, 1e-9))), -700)) - 1 as buy_and_hold
from results.equity_curve
where trial_id = any(%(trials)s)
group by trial_id, date_trunc('month', day)::date
order by trial_id, month
"""

FOLDS = """
select trial_id, period_no as fold, first_day, last_day, net_return, benchmark_return as buy_and_hold
from results.trial_periods
where trial_id = any(%(trials)s) and period_kind = 'fold'
order by trial_id, period_no
"""

CALIBRATION = """
select trial_id, tenth, decisions, lowest_score, highest_score, mean_score, predicted_up, share_up, mean_return
from results.calibration
where trial_id = any(%(trials)s)
order by trial_id, tenth
"""

MODEL_FEATURES = """
select trial_id, feature, share_of_all, contribution
from results.model_features
where trial_id = any(%(trials)s)
order by trial_id asc, contribution desc, feature asc
"""

ACCOUNTS = """
select account_id as account, broker, mode, cash, standing, reason, acted_at, reconciled, reconciled_at
from results.accounts
order by opened_at, account_id
"""

POSITIONS = """
select
    positions.account_id as account, positions.symbol, positions.quantity, shares.models, positions.newest_close,
    positions.value as worth, positions.priced_at
from results.positions
left join lateral (
    select string_agg(trim_scale(model_positions.quantity) || ' of ' || model_id, ', ' order by model_id) as models
    from results.model_positions
    where model_positions.account_id = positions.account_id and model_positions.symbol = positions.symbol
) as shares on true
order by positions.account_id, positions.symbol
"""

EQUITY = """
select account, day, cash, invested, equity
from (
    select
        account_id as account, session_date as day, cash, invested, equity, max(session_date) over () as newest
    from results.equity
) as equity
where day > newest - 1000
order by account, day
"""

PAPER_RECORD = """
select
    account_id as account, model_id as model, symbol, orders, filled, first_bar::date as first_day,
    last_bar::date as last_day, slippage_bps, still_held, profit, symbol_return
from results.paper_record
order by account_id, model_id, symbol
"""

PAPER_VS_BACKTEST = """
select
    account_id as account, model_id as model, symbol, count(*) as orders, sum(paper) as paper,
    sum(backtest) as backtest, sum(paper) - sum(backtest) as difference, sum(from_price) as from_price,
    sum(from_timing) as from_timing, sum(from_refusal) as from_refusal, sum(from_cost) as from_cost
from results.paper_vs_backtest
where paper is not null and backtest is not null
group by account_id, model_id, symbol
order by account_id, model_id, symbol
"""

ORDERS = """
select
    written_at, account_id as account, model_id as model, symbol, side, quantity, filled_quantity, status,
    average_price, next_open, slippage_bps, detail
from results.execution_quality
order by written_at desc, client_order_id asc
limit 200
"""

CROSSES = """
select
    broker_time as passed_at, account_id as account, symbol, coalesce(seller, 'no model') as from_model,
    buyer as to_model, timeframe, bar_start, quantity, price, worth
from results.crosses
order by cross_id desc
limit 200
"""

SLIPPAGE = """
select symbol, bar_start::date as day, side, slippage_bps
from results.execution_quality
where slippage_bps is not null
order by bar_start desc, symbol asc
limit 500
"""

DRIFT = """
select
    model_id as model, quantity, bars, wanted_bars, psi as index, largest_psi_in_training as largest_in_training,
    is_drifting
from results.drift
where quantity = 'score' or is_drifting
order by model_id asc, (quantity = 'score') desc, psi desc nulls last, quantity asc
"""

EXPECTED = """
select model_id as model, day, counted_days, decisions, earned, realised, expected, band_low, band_high
from results.expected_returns
where model_state = any(%(states)s)
order by model_id, day
"""

SHADOW = """
select
    model_id as model, model_state, days_in_time, next_look_after,
    greatest(next_look_after + 2 - days_in_time, 0) as days_until_it, decisions, late_decisions, looks_taken, outcome,
    luck_p, level as luck_allowed, net_sharpe, failed_checks, newest_bar, registered_at, reason
from results.shadow
order by (model_state = 'shadow') desc, registered_at asc, model_id asc
"""

SHADOW_POSITIONS = """
select distinct on (model_id, symbol)
    model_id as model, symbol, target_weight as weight, score, bar_start as decided_bar, decided_at
from results.shadow_decisions
where not is_late
order by model_id asc, symbol asc, bar_start desc
"""

SHADOW_DECISIONS = """
select model_id as model, symbol, bar_start, decided_at, is_late, score, target_weight as weight
from results.shadow_decisions
order by bar_start desc, model_id asc, symbol asc
limit 200
"""

HALTS = """
select acted_at, account_id as account, action, reason
from results.halts
order by halt_id desc
limit 50
"""

RECONCILIATIONS = """
select reconciled_at, account_id as account, occasion, outcome, findings
from results.reconciliations
order by reconciliation_id desc
limit 50
"""

REFUSALS = """
select refused_at, account_id as account, model_id as model, symbol, timeframe, bar_start, reason
from results.refusals
order by refusal_id desc
limit 50
"""

FRESHNESS = """
select
    timeframe, symbol, newest_bar_start as newest_bar,
    -- what could never be computed is stale since -infinity, which no datetime holds
    case
        when stale_from = '-infinity' then 'its beginning'
        else to_char(stale_from at time zone 'UTC', 'YYYY-MM-DD HH24:MI')
    end as stale_from,
    reason
from features.freshness
where newest_bar_start is not null or stale_from is not null
order by timeframe, symbol
"""

DATA_HEALTH = """
select symbol, month_start as month, bars, missing_explained, missing_open
from (
    select *, max(month_start) over () as newest
    from results.data_health
) as months
where month_start > newest - interval '3 years'
order by symbol, month_start
"""

SOURCES = """
select
    source, count(*) as bars, count(*) filter (where revision > 1) as corrected, max(bar_start) as newest_bar,
    max(landed_at) as newest_landing
from canonical.ohlcv_1d
group by source
order by bars desc, source asc
"""

GAPS = """
select timeframe, symbol, kind, outcome, count(*) as bars, min(bar_start) as first_bar, max(bar_start) as last_bar
from canonical.gaps
group by timeframe, symbol, kind, outcome
order by outcome desc, bars desc, timeframe asc, symbol asc, kind asc
"""

QUARANTINE = """
select quarantine_reason as reason, source, timeframe, count(*) as rows, max(landed_at) as newest
from canonical.quarantine
group by quarantine_reason, source, timeframe
order by count(*) desc, reason asc, source asc, timeframe asc
"""

SUSPECTED_ACTIONS = """
select symbol, kind, action_id, action_date, step, reason, is_applied
from canonical.suspected_actions
order by symbol, action_date, kind, action_id
"""

FEEDS = """
select
    source, timeframe, state, since, mute_symbols, newest_bar_start as newest_bar, heartbeat_at, reconnects, last_error
from results.feeds
order by source, timeframe
"""

PARITY = """
select model_id as model, verdict, count(*) as decisions, max(audited_at) as newest
from results.parity
group by model_id, verdict
order by model_id, verdict
"""

PARITY_DIFFERENCES = """
select
    decided_at, model_id as model, symbol, timeframe, bar_start, verdict,
    (
        select string_agg(feature_names[place], ', ' order by place)
        from generate_subscripts(feature_names, 1) as place
        where feature_values[place] is distinct from coalesce(
            case verdict when 'defect' then then_values[place] end, now_values[place]
        )
    ) as features
from results.parity
where verdict <> 'identical'
order by decided_at desc
limit 100
"""
