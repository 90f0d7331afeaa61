-- A package may say when its positions are left, or kept, beside what its scores say. What that was judged from is kept
-- with the decision, so that the next one, and a session after a restart, goes on from there.

alter table ledger.decisions
add column signal_weight float8 check (signal_weight > '-Infinity' and signal_weight < 'Infinity'),
add column held_side smallint not null default 0 check (held_side in (-1, 0, 1)),
add column held_since timestamptz check (held_since <= bar_start),
add column barred smallint not null default 0 check (barred in (-1, 0, 1)),
add column exit_reason text check (exit_reason in ('stop_loss', 'take_profit', 'max_bars', 'barred')),
add constraint exit_is_out check (exit_reason is null or target_weight = 0) not valid,
add constraint exits_are_whole check (
    coalesce(isfinite(held_since), true)
    and (held_side <> 0 or held_since is null)
    and (held_side <> 0 or coalesce(exit_reason, 'barred') = 'barred')
    and (signal_weight is not null or (held_side = 0 and barred = 0 and exit_reason is null))
);
comment on column ledger.decisions.signal_weight is 'The weight that the score asks for; null for a package without exits.';
comment on column ledger.decisions.held_side is
'What was held at the decision, 1 long or -1 short; 0 for nothing, and for a package without exits.';
comment on column ledger.decisions.held_since is
'Start of the bar at whose open that was filled; null when nothing was held, or no bar had begun since.';
comment on column ledger.decisions.barred is
'Side, 1 long or -1 short, that is not taken again before the score has asked for something else; 0 for none.';
comment on column ledger.decisions.exit_reason is 'Why the weight is 0, beside the score; null when it is not for an exit.';

grant insert (signal_weight, held_side, held_since, barred, exit_reason) on ledger.decisions to executor;
