-- A grid that was killed has fitted hours of folds. Each is kept as soon as it is fitted, so that the next attempt at the
-- same run fits the others. They go when the run has succeeded. `research.tuned_folds` stays the record of what searches
-- inside folds chose.

create table research.fitted_folds (
    run_id text not null references research.runs,
    trial_id text not null,
    fold smallint not null check (fold > 0),
    is_control boolean not null,
    device text not null check (device in ('cpu', 'cuda')),
    made_with jsonb not null check (jsonb_typeof(made_with) = 'object'),
    result bytea not null,
    primary key (trial_id, fold, is_control, device, made_with)
);
comment on table research.fitted_folds is
'What the fit of a fold of a trial came to, kept when it was made, until its run has succeeded.';
comment on column research.fitted_folds.fold is 'The walk-forward fold that was fitted and decided.';
comment on column research.fitted_folds.is_control is 'Whether it is the fit on shuffled labels.';
comment on column research.fitted_folds.device is 'What it was fitted on: cpu or cuda.';
comment on column research.fitted_folds.made_with is
'What its bits depend on beside the data: the code, the libraries, Python and the processor. What differs is fitted anew.';
comment on column research.fitted_folds.result is 'Arrays as numpy writes them: of a control its gap, of a fold what it decided.';
create index fitted_folds_of_run on research.fitted_folds (run_id);

grant select on research.fitted_folds to transformer, trainer, executor, analyst, gate, operator;
grant insert, delete on research.fitted_folds to trainer;
