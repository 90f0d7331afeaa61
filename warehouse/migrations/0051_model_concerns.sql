-- What is wrong with a model that should trade. One model's failure is its own: it is set aside, and it is told.

create table ledger.model_concerns (
    concern_id bigint generated always as identity primary key,
    model_id text not null references research.models,
    concern text not null,
    noted_at timestamptz not null default clock_timestamp()
);
create index on ledger.model_concerns (model_id, concern_id desc);
comment on table ledger.model_concerns is
'Why a model does not trade, or failed on a bar; the newest row of a model holds, and a row is written when that changes.';
comment on column ledger.model_concerns.concern is 'A sentence; empty when it trades again.';
create trigger only_grows before update or delete or truncate on ledger.model_concerns
for each statement execute function warehouse.refuse_change();
create trigger is_written_now before insert on ledger.model_concerns
for each row execute function warehouse.check_written('noted_at', 'concern_id');
grant select on ledger.model_concerns to transformer, executor, analyst;
grant insert (model_id, concern) on ledger.model_concerns to executor;
