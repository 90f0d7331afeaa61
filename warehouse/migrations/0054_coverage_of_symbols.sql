-- A panel of which one symbol trades has data on every day: how much of each symbol is there is kept with the trial.

alter table research.trials add column coverage jsonb check (jsonb_typeof(coverage) = 'object');
comment on column research.trials.coverage is
'By symbol: the share of its expected bars of the out-of-sample window in which somebody traded; null where none is expected. Null of trials made before this was kept.';
grant insert (coverage) on research.trials to trainer;
