-- An audit of what has not changed, on bars that were audited, finds what the last one found.
create table features.look_ahead_audits (
    model text not null,
    definition text not null,
    bars bigint not null,
    audited_at timestamptz not null default clock_timestamp(),
    primary key (model, audited_at)
);
comment on table features.look_ahead_audits is
'Look-ahead audits that found nothing: a build repeats one when the model is computed otherwise or its history has doubled.';
comment on column features.look_ahead_audits.definition is 'As in canonical.live_builds.';
comment on column features.look_ahead_audits.bars is 'Rows of the history that was audited.';
grant select, insert on features.look_ahead_audits to transformer;
grant select on features.look_ahead_audits to analyst;
