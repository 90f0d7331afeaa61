-- What a model's decisions have made on paper, beside what its trial's record lets one expect, at days that are fixed before.
-- A band that is asked every day is left by one good model in five within a year, so it is no ground to retire one.

create table research.paper_looks (
    model_id text not null references research.models,
    look_no integer not null check (look_no between 1 and 6),
    day date not null,
    counted_days integer not null,
    shortfall float8 not null check (shortfall > '-Infinity' and shortfall < 'Infinity'),
    limit_shortfall float8 not null check (limit_shortfall > 0 and limit_shortfall < 'Infinity'),
    looked_at timestamptz not null default clock_timestamp(),
    primary key (model_id, look_no)
);
comment on table research.paper_looks is
'How far a model''s record on paper lies below what its backtest lets one expect, at 63, 126, 252, 504, 1008 and 2016 days.';
comment on column research.paper_looks.day is 'The last day that counts.';
comment on column research.paper_looks.counted_days is 'Days up to it, from the first decision on.';
comment on column research.paper_looks.shortfall is
'In standard deviations of what so many days of such a record make; below 0 it made more than was expected.';
comment on column research.paper_looks.limit_shortfall is
'Above it the record contradicts the backtest: of models that are as good as their record, all looks together find one in twenty.';

create trigger is_written_now before insert on research.paper_looks
for each row execute function warehouse.check_written('looked_at');
create trigger only_grows before update or delete or truncate on research.paper_looks
for each statement execute function warehouse.refuse_change();

create function research.record_paper_look(
    model text, to_day date, days integer, shortfall float8, retires boolean
) returns boolean
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    -- the k-th look may be wrong with a probability of 0.05 / (k (k + 1)), which is 0.05 together
    limits constant float8[] := array[1.96, 2.394, 2.6383, 2.807, 2.9352, 3.038];
    look integer := array_position(array[63, 126, 252, 504, 1008, 2016], days);
    newest research.paper_looks;
begin
    perform pg_advisory_xact_lock(hashtextextended('model ' || model, 0));
    if look is null then
        raise exception 'a record on paper is looked at after 63, 126, 252, 504, 1008 and 2016 days, and not after %', days;
    end if;
    if not exists (
        select from ledger.decisions
        where decisions.model_id = model and (decisions.bar_start at time zone 'UTC')::date <= to_day
    ) and not exists (
        select from ledger.shadow_decisions as decisions
        where decisions.model_id = model and (decisions.bar_start at time zone 'UTC')::date <= to_day
    ) then
        raise exception 'model % has decided nothing up to %', model, to_day;
    end if;

    -- what was found at a look stays, whatever its bars are revised to
    insert into research.paper_looks (model_id, look_no, day, counted_days, shortfall, limit_shortfall)
    values (model, look, to_day, days, record_paper_look.shortfall, limits[look])
    on conflict do nothing;

    select * into newest
    from research.paper_looks as known where known.model_id = model order by known.look_no desc limit 1;
    if not retires or newest.shortfall <= newest.limit_shortfall then
        return false;
    end if;
    perform research.append_state(
        model, array['paper', 'live'], 'retired',
        format(
            'its record on paper contradicts its backtest: %s days up to %s made less than expected by %s standard deviations, and %s is the limit of look %s',
            newest.counted_days, newest.day, round(newest.shortfall::numeric, 2), round(newest.limit_shortfall::numeric, 2),
            newest.look_no
        )
    );
    return true;
end $$;
comment on function research.record_paper_look is
'Note what a model''s record on paper came to after so many days, once; if asked to, retire it where that contradicts its backtest.';

revoke execute on function research.record_paper_look from public;
grant execute on function research.record_paper_look to gate;
grant select on research.paper_looks to transformer, trainer, executor, analyst, gate, operator;
