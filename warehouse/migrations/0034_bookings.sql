-- A booking counts by what it moves, whatever its kind; its code is kept. Sides that may only lag are awaited.

alter table ledger.activities drop constraint activities_kind_check;
alter table ledger.activities add constraint activities_kind_check
check (kind in ('deposit', 'withdrawal', 'dividend', 'fee', 'split', 'other'));
alter table ledger.activities add column code text not null default '';
comment on column ledger.activities.code is
'The broker''s own name of the kind. A booking that was canceled later has a second row, which takes it back.';

alter table ledger.reconciliations drop constraint reconciliations_outcome_check;
alter table ledger.reconciliations add constraint reconciliations_outcome_check
check (outcome in ('agreed', 'repaired', 'awaiting', 'discrepancy'));
comment on column ledger.reconciliations.outcome is
'awaiting: the sides differ about what traded minutes ago, which lag may explain. Nothing is sent, and nothing is halted yet.';
