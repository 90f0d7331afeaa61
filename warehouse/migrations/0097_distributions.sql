-- What a model's inputs and scores looked like where it was trained, so that what it reads later can be compared with it.

create table research.model_distributions (
    model_id text not null references research.models,
    quantity text not null check (btrim(quantity) <> ''),
    edges float8[] not null,
    shares float8[] not null,
    window_bars integer not null check (window_bars > 0),
    window_rows integer check (window_rows > 0),
    largest_psi float8 check (largest_psi >= 0 and largest_psi < 'Infinity'),
    primary key (model_id, quantity),
    check (cardinality(edges) > 0 and cardinality(shares) = cardinality(edges) + 1),
    check (array_position(edges, null) is null and 'NaN' <> all (edges)),
    check (array_position(shares, null) is null and 0 < all (shares) and 1 >= all (shares))
);
comment on table research.model_distributions is
'How the features that a model was fitted on, and its scores out of sample, were distributed. Written when it is registered.';
comment on column research.model_distributions.quantity is 'A feature of the model, or score.';
comment on column research.model_distributions.edges is
'The bounds of the bins, ascending: the deciles, and one just above a value that is there often. A value on a bound is above it.';
comment on column research.model_distributions.shares is 'The share of the values in each bin, one more than edges.';
comment on column research.model_distributions.window_bars is 'How many bars are compared at once.';
comment on column research.model_distributions.window_rows is
'How many values so many bars usually had there; null when there were too few bars to tell.';
comment on column research.model_distributions.largest_psi is
'The largest population stability index that so many bars in a row had there; null when there were too few to tell.';

create trigger only_grows before update or delete or truncate on research.model_distributions
for each statement execute function warehouse.refuse_change();

grant insert on research.model_distributions to trainer;
grant select on research.model_distributions to transformer, trainer, executor, analyst, gate, operator;

-- the newest decisions of a model, without those of years
create index on ledger.decisions (model_id, bar_start);
create index on ledger.shadow_decisions (model_id, bar_start);
