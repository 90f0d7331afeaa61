-- What a search chose depends on what it was computed with. A run that is resumed on another device, or with other
-- versions, searches anew there: choices of two arithmetics are never mixed in one trial.

alter table research.tuned_folds
add column device text,
add column library_versions jsonb;

alter table research.tuned_folds disable trigger only_grows;
update research.tuned_folds set device = runs.device, library_versions = runs.library_versions
from research.runs where runs.run_id = tuned_folds.run_id;
alter table research.tuned_folds enable trigger only_grows;

alter table research.tuned_folds
alter column device set not null,
alter column library_versions set not null,
add check (device in ('cpu', 'cuda')),
add check (jsonb_typeof(library_versions) = 'object'),
drop constraint tuned_folds_pkey,
add primary key (trial_id, fold, device, library_versions);
comment on column research.tuned_folds.device is 'What it was searched on: cpu or cuda.';
comment on column research.tuned_folds.library_versions is
'Versions of the libraries that the choice depends on: numpy, optuna and xgboost.';
