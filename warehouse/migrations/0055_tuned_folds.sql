-- A search inside a training fold is no trial: only what it chose meets the days out of sample. What it chose is kept as
-- soon as it is known, so that a run that was killed goes on where it was.

create table research.tuned_folds (
    run_id text not null references research.runs,
    trial_id text not null,
    fold smallint not null check (fold > 0),
    parameters jsonb not null check (jsonb_typeof(parameters) = 'object'),
    inner_skill float8,
    rounds integer not null check (rounds > 0),
    primary key (trial_id, fold)
);
comment on table research.tuned_folds is
'What the search inside each training fold of a trial chose. The trial itself has a row when all its folds are done.';
comment on column research.tuned_folds.fold is 'The walk-forward fold whose training bars were searched on.';
comment on column research.tuned_folds.parameters is 'Every parameter of the booster that was fitted on the fold.';
comment on column research.tuned_folds.inner_skill is
'Skill on the inner walk-forward, pooled: the best of all rounds, so better than it would be again; null when none could be fitted.';
comment on column research.tuned_folds.rounds is 'How many sets of parameters were tried.';

create trigger only_grows before update or delete or truncate on research.tuned_folds
for each statement execute function warehouse.refuse_change();
grant select on research.tuned_folds to transformer, trainer, executor, analyst, gate, operator;
grant insert on research.tuned_folds to trainer;
