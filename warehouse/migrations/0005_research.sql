-- Everything that was ever tried, failures included: the gate counts what it finds here, nobody declares it.
-- Append-only: a correction is a new row.

create table research.hypotheses (
    hypothesis_id text primary key,
    experiment_id text not null,
    content jsonb not null,
    source_file text not null,
    registered_at timestamptz not null default clock_timestamp()
);
comment on column research.hypotheses.hypothesis_id is 'sha256 of the canonical content: a changed hypothesis is another one';
create index on research.hypotheses (experiment_id);

create table research.families (
    family_id text primary key,
    symbols text[] not null,
    timeframe text not null,
    oos_start timestamptz not null,
    oos_end timestamptz not null,
    oos_bars integer not null,
    periods_per_year float8 not null,
    registered_at timestamptz not null default clock_timestamp()
);
comment on table research.families is
'Keyed by data (symbol set, timeframe, out-of-sample window), never by hypothesis: all trials on the same data are one search.';

create table research.runs (
    run_id text primary key,
    hypothesis_id text not null references research.hypotheses,
    family_id text not null references research.families,
    started_at timestamptz not null default clock_timestamp(),
    data_start timestamptz not null,
    data_watermark timestamptz not null,
    rows_used integer not null,
    rows_unready integer not null,
    device text not null,
    feature_fingerprints jsonb not null,
    library_versions jsonb not null
);
comment on column research.runs.run_id is
'Derived from hypothesis, data and feature fingerprints: the same run again is the same row.';

create table research.run_outcomes (
    run_id text not null references research.runs,
    finished_at timestamptz not null default clock_timestamp(),
    status text not null check (status in ('succeeded', 'failed')),
    error text,
    primary key (run_id, finished_at)
);
comment on table research.run_outcomes is
'One row a finished attempt: a failed run may be tried again, the newest row counts.';

create table research.trials (
    trial_id text primary key,
    run_id text not null references research.runs,
    hypothesis_id text not null references research.hypotheses,
    family_id text not null references research.families,
    trial_no integer not null,
    parameters jsonb not null,
    skill_in_sample float8,
    skill_out_of_sample float8,
    registered_at timestamptz not null default clock_timestamp(),
    unique (run_id, trial_no)
);
comment on column research.trials.skill_out_of_sample is
'1 - loss / loss of the training base rate, pooled over out-of-sample folds (Brier for classes, squared error for regression)';

create table research.trial_returns (
    trial_id text not null references research.trials,
    symbol text not null,
    bar_start timestamptz not null,
    fold smallint not null,
    score float8,
    position float8 not null,
    asset_return float8 not null,
    cost float8 not null,
    net_return float8 not null,
    primary key (trial_id, symbol, bar_start)
);
comment on table research.trial_returns is
'Out-of-sample path of a trial: decided at the close of bar_start, position held from the next bar''s open to the open after.';
comment on column research.trial_returns.score is 'null when there was no ready feature row: the position is 0 then';
comment on column research.trial_returns.position is 'signed fraction of equity held in this symbol';
comment on column research.trial_returns.asset_return is 'simple return of the symbol over the holding bar (buy-and-hold)';
comment on column research.trial_returns.cost is 'cost of changing the position, as a fraction of equity';
comment on column research.trial_returns.net_return is 'position * asset_return - cost: contribution to the trial''s net return';

create table research.gate_looks (
    family_id text not null references research.families,
    look_no integer not null check (look_no > 0),
    looked_at timestamptz not null default clock_timestamp(),
    trials integer not null,
    alpha float8 not null,
    primary key (family_id, look_no)
);
comment on table research.gate_looks is 'The k-th look at a family spends alpha_k = 0.05 / (k (k + 1)).';

create table research.verdicts (
    trial_id text not null references research.trials,
    look_no integer not null,
    family_id text not null references research.families,
    verdict text not null check (verdict in ('PASSED', 'FAILED', 'INSUFFICIENT_EVIDENCE')),
    explanation text not null,
    years_missing float8,
    net_sharpe float8,
    shrunk_sharpe float8,
    deflated_sharpe_probability float8,
    minimum_track_record_years float8,
    pbo float8,
    decided_at timestamptz not null default clock_timestamp(),
    primary key (trial_id, look_no),
    foreign key (family_id, look_no) references research.gate_looks
);

create table research.gate_checks (
    trial_id text not null,
    look_no integer not null,
    tier smallint not null check (tier between 1 and 3),
    check_name text not null,
    value float8,
    threshold float8,
    comparison text not null,
    outcome text not null check (outcome in ('passed', 'failed', 'undecided')),
    explanation text not null,
    years_missing float8,
    primary key (trial_id, look_no, check_name),
    foreign key (trial_id, look_no) references research.verdicts
);

create table research.models (
    model_id text primary key,
    trial_id text not null references research.trials,
    run_id text not null references research.runs,
    hypothesis_id text not null references research.hypotheses,
    package_path text not null,
    package_sha256 text not null,
    trained_through timestamptz not null,
    registered_at timestamptz not null default clock_timestamp()
);
comment on column research.models.package_path is 'folder below models_registry''s models folder';

create table research.model_states (
    model_id text not null references research.models,
    state text not null check (state in ('candidate', 'paper', 'live', 'retired')),
    entered_at timestamptz not null default clock_timestamp(),
    reason text not null,
    primary key (model_id, entered_at)
);
comment on table research.model_states is 'candidate -> paper -> live -> retired; the newest row is the state.';

grant select, insert on all tables in schema research to trainer;
