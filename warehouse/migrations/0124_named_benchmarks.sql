-- A hypothesis may name what its trials are shown beside, besides buy-and-hold of its own symbols. The gate does not ask it: who
-- chooses what to be better than would choose what is easily beaten.
alter table research.trial_returns
add column named_return float8,
add constraint named_return_is_a_number check (named_return > '-Infinity' and named_return < 'Infinity') not valid;
comment on column research.trial_returns.named_return is
'the symbol''s even share of the return of the benchmark that the hypothesis names, over the same bar; null where it names none';
