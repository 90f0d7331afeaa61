-- How far a model's newest scores were from those that it was judged on, look after look. A rule may retire a model whose
-- scores have drifted at so many looks in a row.

create table research.drift_looks (
    model_id text not null references research.models,
    last_bar timestamptz not null,
    looked_at timestamptz not null default clock_timestamp(),
    psi float8 not null check (psi >= 0 and psi < 'Infinity'),
    limit_psi float8 not null check (limit_psi > 0 and limit_psi < 'Infinity'),
    primary key (model_id, last_bar)
);
comment on table research.drift_looks is
'How a model''s newest scores were distributed beside its training, one look per newest bar that it has decided.';
comment on column research.drift_looks.last_bar is 'The newest bar of the window that was looked at.';
comment on column research.drift_looks.psi is 'The population stability index of the scores in that window.';
comment on column research.drift_looks.limit_psi is
'Above it they drift: 0.25, or the largest index of as many bars in training where that is more.';

create trigger is_written_now before insert on research.drift_looks
for each row execute function warehouse.check_written('looked_at');
create trigger only_grows before update or delete or truncate on research.drift_looks
for each statement execute function warehouse.refuse_change();

-- A look without a new bar is none: whoever looks ten times a day shall not count ten.
create function research.record_drift_look(model text, bar timestamptz, psi float8, retire_after integer) returns boolean
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    training float8;
    looks record;
begin
    perform pg_advisory_xact_lock(hashtextextended('model ' || model, 0));
    if retire_after < 2 then
        raise exception 'a model is retired after two drifting looks in a row or more, and % is less', retire_after;
    end if;
    select known.largest_psi into training
    from research.model_distributions as known
    where known.model_id = model and known.quantity = 'score';
    if training is null then
        raise exception 'nothing is known of the scores of model % in training', model;
    end if;
    if not exists (
        select from ledger.decisions where decisions.model_id = model and decisions.bar_start = bar
    ) and not exists (
        select from ledger.shadow_decisions as decisions where decisions.model_id = model and decisions.bar_start = bar
    ) then
        raise exception 'model % has not decided the bar of %', model, bar;
    end if;

    insert into research.drift_looks (model_id, last_bar, psi, limit_psi)
    values (model, bar, record_drift_look.psi, greatest(0.25, training))
    on conflict do nothing;

    select count(*) as taken, bool_and(newest.psi > newest.limit_psi) as all_drift, min(newest.last_bar) as first, min(newest.psi) as least
    into looks
    from (
        select known.last_bar, known.psi, known.limit_psi
        from research.drift_looks as known
        where known.model_id = model
        order by known.last_bar desc
        limit retire_after
    ) as newest;
    if retire_after is null or looks.taken < retire_after or not looks.all_drift then
        return false;
    end if;
    perform research.append_state(
        model, array['shadow', 'paper', 'live'], 'retired',
        format(
            'its scores drifted at %s looks in a row, from the bar of %s UTC on: an index of %s or more, and up to %s in training',
            retire_after, to_char(looks.first at time zone 'UTC', 'YYYY-MM-DD HH24:MI'), round(looks.least::numeric, 2),
            round(training::numeric, 2)
        )
    );
    return true;
end $$;
comment on function research.record_drift_look is
'Note a look at a model''s drift; retire the model when that many looks in a row drifted. Without a number none is retired.';

revoke execute on function research.record_drift_look from public;
grant execute on function research.record_drift_look to gate;
grant select on research.drift_looks to transformer, trainer, executor, analyst, gate, operator;
