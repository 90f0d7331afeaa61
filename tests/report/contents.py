"""What a report shows, written straight into the tables: trials with returns and verdicts, an account, a feed.

The research and the trading that would write it take minutes. Names and reasons hold HTML, as nothing forbids.
"""

from tests.machine import as_owner

EVIL = "<script>alert('x')</script>&\"\x1b"

_RESEARCH = """
insert into research.hypotheses (hypothesis_id, experiment_id, content, source_file)
select
    'h' || number, name, jsonb_build_object('target', jsonb_build_object('kind', 'binary', 'horizon', 1)),
    'experiments/' || number || '.yaml'
from unnest(array['reversal', %(evil)s]) with ordinality as names (name, number);

insert into research.families (family_id, symbols, timeframe, oos_start, oos_end, oos_bars, periods_per_year)
values (
    'f', array['AAPL', 'IBM'] || array(select 'S' || number from generate_series(1, 18) as number), '1d',
    '2020-01-02 14:30+00', '2022-01-02 14:30+00', 500, 252
);

insert into research.runs (
    run_id, hypothesis_id, family_id, data_start, data_watermark, rows_used, rows_unready, device, feature_fingerprints,
    library_versions
)
select 'r' || number, 'h' || number, 'f', '2010-01-02', '2022-01-02', 1000, 0, 'cpu', '{}', '{}'
from generate_series(1, 2) as number;

insert into research.trials (trial_id, run_id, hypothesis_id, family_id, trial_no, parameters, left_out)
select
    format('t%%s-%%s', run, trial), 'r' || run, 'h' || run, 'f', trial,
    jsonb_build_object('max_depth', trial, 'eta', 0.1), '{}'
from generate_series(1, 2) as run, generate_series(1, %(trials)s) as trial;

insert into research.trial_returns (
    trial_id, symbol, bar_start, fold, score, position, trade, asset_return, benchmark_return, cost, interest,
    net_return
)
select
    trial_id, symbol, day, 1 + extract(year from day) - 2020, 0.2 * sin(extract(day from day)), 0.5,
    case when mod(extract(day from day), 9) = 0 then 0.1 else 0 end,
    0.001 * sin(extract(day from day)), 0.0005 * sin(extract(day from day)), 0, 0,
    0.0005 * cos(extract(day from day) + trial_no) + 0.0001 * trial_no
from research.trials
cross join unnest(array['AAPL', 'IBM']) as symbol
cross join generate_series('2020-01-02 14:30+00'::timestamptz, '2021-12-30 14:30+00', '1 day') as day;

insert into research.gate_looks (family_id, look_no, trials, alpha) values ('f', 1, 4, 0.025);

insert into research.verdicts (
    trial_id, look_no, family_id, verdict, explanation, years_missing, net_sharpe, shrunk_sharpe, tail_cost,
    tail_cost_years
)
select
    trial_id, 1, 'f', case trial_no when 1 then 'PASSED' when 2 then 'FAILED' else 'INSUFFICIENT_EVIDENCE' end,
    %(evil)s,
    case when trial_no > 2 then 2.5 end, 2 - trial_no, 1 - trial_no, 0.23, 1.5
from research.trials
where trial_no < 4;

insert into research.gate_checks (
    trial_id, look_no, tier, check_name, value, threshold, comparison, outcome, explanation
)
select
    trial_id, 1, 2, 'net_sharpe', 2 - trial_no, 0.5, '>=',
    case trial_no when 1 then 'passed' when 2 then 'failed' else 'undecided' end, %(evil)s
from research.trials
where trial_no < 4;

insert into research.models (model_id, trial_id, run_id, hypothesis_id, package_path, package_sha256, trained_through)
values ('reversal-1', 't1-1', 'r1', 'h1', 'reversal-1', 'x', '2022-01-02');

insert into research.model_states (model_id, state, reason) values ('reversal-1', 'candidate', %(evil)s);

insert into research.models (model_id, trial_id, run_id, hypothesis_id, package_path, package_sha256, trained_through)
values ('reversal-2', 't1-2', 'r1', 'h1', 'reversal-2', 'x', '2022-01-02');

insert into research.model_states (model_id, state, reason) values ('reversal-2', 'shadow', 'contents of a report');

insert into research.shadow_registrations (model_id, looks, levels, related_no, reason)
values ('reversal-2', array[100, 200], array[0.001, 0.004], 1, %(evil)s);

insert into research.model_distributions (
    model_id, quantity, edges, shares, window_bars, window_rows, largest_psi, contribution
)
select
    'reversal-2', quantity, array[0, 1], array[0.3, 0.4, 0.3], 60, 60, 0.4,
    case quantity when 'rsi' then 0.3 when 'roc_5' then 0.1 end
from unnest(array['score', 'roc_5', 'rsi']) as quantity;
"""

_TRADING = """
insert into ledger.accounts (account_id, broker, mode) values ('paper-1', 'alpaca', 'paper');
insert into ledger.activities (account_id, activity_id, kind, cash, happened_at)
values ('paper-1', 'a', 'deposit', 1000, '2022-01-03 14:30+00');
insert into ledger.halts (account_id, action, reason) values ('paper-1', 'halt', %(evil)s);
select ledger.note_reconciliation(
    'paper-1', 'by hand', now(), 'discrepancy', '[{"sentence": "a share too many"}]', '{"cash": "1000"}'
);
insert into ledger.refusals (account_id, model_id, symbol, timeframe, bar_start, broker_time, reasons)
values ('paper-1', 'reversal-1', 'AAPL', '1d', '2022-01-03 14:30+00', now(), array['the bar is stale', %(evil)s]);
insert into ledger.shadow_decisions (
    model_id, symbol, bar_start, bar_end, is_late, feature_names, feature_values, score, target_weight
)
select
    'reversal-2', 'AAPL', day, day + interval '6.5 hours', false, array['roc_5', 'rsi'],
    array[mod(extract(doy from day)::integer, 3) - 0.5, 2], 2, 1
from generate_series('2022-01-03 14:30+00'::timestamptz, '2022-03-20 14:30+00', '1 day') as day;
insert into raw.feeds (source, timeframe, state, since, symbols, heartbeat_at, process, last_error, mute_symbols)
values
('binance', '1m', 'live', now(), array['BTCUSDT'], now() - interval '1 hour', 'here:1', null, '{}'),
('polygon', '1m', 'failed', now(), array['AAPL'], now(), 'here:2', %(evil)s, array['IBM']);
insert into results.parity (
    decision_id, account_id, model_id, symbol, timeframe, bar_start, decided_at, feature_names, feature_values,
    then_values, now_values, verdict, audited_at
)
values
('d1', 'paper-1', 'reversal-1', 'AAPL', '1d', now(), now(), array['roc_5', 'rsi'], array[1, 2], array[1, 2],
    array[1, 2], 'identical', now()),
('d2', 'paper-1', 'reversal-1', 'AAPL', '1d', now(), now(), array['roc_5', 'rsi'], array[1, 2], array[1, 3],
    array[1, 3], 'defect', now());
"""


def write(trials: int = 4) -> None:
    """Two hypotheses of so many trials each, and an account that needs a person."""
    with as_owner(past_triggers=True) as connection:
        values = {"evil": EVIL, "trials": trials}
        for script in (_RESEARCH, _TRADING):
            for statement in script.split(";\n"):
                if statement.strip():
                    connection.execute(statement, values)
