-- How far a model's newest scores were from those that it was judged on, look after look. A rule may retire a model whose
-- scores have drifted in so many windows in a row that share no bar.

create table research.drift_looks (
    model_id text not null references research.models,
    first_bar timestamptz not null,
    last_bar timestamptz not null check (last_bar >= first_bar),
    looked_at timestamptz not null default clock_timestamp(),
    psi float8 not null check (psi >= 0 and psi < 'Infinity'),
    limit_psi float8 not null check (limit_psi > 0 and limit_psi < 'Infinity'),
    primary key (model_id, last_bar)
);
comment on table research.drift_looks is
'How a model''s newest scores were distributed beside its training, one look per newest bar that it has decided.';
comment on column research.drift_looks.first_bar is 'The oldest bar of the window that was looked at.';
comment on column research.drift_looks.last_bar is 'The newest bar of the window that was looked at.';
comment on column research.drift_looks.psi is 'The population stability index of the scores in that window.';
comment on column research.drift_looks.limit_psi is
'Above it they drift: 0.25, or the largest index of as many bars in training where that is more.';

create trigger is_written_now before insert on research.drift_looks
for each row execute function warehouse.check_written('looked_at');
create trigger only_grows before update or delete or truncate on research.drift_looks
for each statement execute function warehouse.refuse_change();

-- A look without a new bar is none: whoever looks ten times a day shall not count ten.
create function research.record_drift_look(
    model text, first_bar timestamptz, bar timestamptz, psi float8, retire_after integer
) returns boolean
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    training float8;
    look research.drift_looks;
    windows integer := 0;
    newest timestamptz;
    oldest timestamptz;
    beginning timestamptz;
    since record;
begin
    perform pg_advisory_xact_lock(hashtextextended('model ' || model, 0));
    if retire_after < 2 then
        raise exception 'a model is retired after two drifting windows in a row or more, and % is less', retire_after;
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

    insert into research.drift_looks (model_id, first_bar, last_bar, psi, limit_psi)
    values (model, first_bar, bar, record_drift_look.psi, greatest(0.25, training))
    on conflict do nothing;

    -- windows that share bars say the same: from the newest on, each that counts has no bar of the one that counted before
    select * into look from research.drift_looks as known where known.model_id = model order by known.last_bar desc limit 1;
    newest := look.last_bar;
    while found and look.psi > look.limit_psi loop
        windows := windows + 1;
        oldest := look.last_bar;
        beginning := look.first_bar;
        exit when windows = retire_after;
        select * into look
        from research.drift_looks as known
        where
            known.model_id = model
            and known.last_bar < look.first_bar
            -- nor lies it far before that one: what came between would be unknown
            and known.last_bar >= look.first_bar - (look.last_bar - look.first_bar)
        order by known.last_bar desc
        limit 1;
    end loop;
    select min(known.psi) as least, bool_and(known.psi > known.limit_psi) as all_drift into since
    from research.drift_looks as known
    where known.model_id = model and known.last_bar between oldest and newest;
    if retire_after is null or windows < retire_after or not since.all_drift then
        return false;
    end if;
    perform research.append_state(
        model, array['shadow', 'paper', 'live'], 'retired',
        format(
            'its scores drifted in %s windows in a row that share no bar, from the bar of %s UTC on: an index of %s or more, and up to %s in training',
            retire_after, to_char(beginning at time zone 'UTC', 'YYYY-MM-DD HH24:MI'), round(since.least::numeric, 2),
            round(training::numeric, 2)
        )
    );
    return true;
end $$;
comment on function research.record_drift_look is
'Note a look at a model''s drift; retire it when so many windows in a row drifted that share no bar, and every look since did. Without a number none is retired.';

revoke execute on function research.record_drift_look from public;
grant execute on function research.record_drift_look to gate;
grant select on research.drift_looks to transformer, trainer, executor, analyst, gate, operator;
