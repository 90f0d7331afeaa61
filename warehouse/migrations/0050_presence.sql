-- Whoever is refused a claim is told who has it, and since when.

alter table warehouse.claims add column purpose text not null default '';
alter table warehouse.claims add column place text not null default '';
alter table warehouse.claims add column claimed_at timestamptz not null default clock_timestamp();
comment on column warehouse.claims.purpose is 'What the connection claims it for, in a word; empty when it does not say.';
comment on column warehouse.claims.place is 'Which process on which machine has it, in words.';
comment on column warehouse.claims.claimed_at is 'Since when this connection has it.';

drop function warehouse.claim(text);

-- PostgreSQL shows the start of a session to its own role and to members of it, and the administrator is one. Where it does
-- not show it, the claim counts as held.
create function warehouse.claim(subject text, purpose text default '', place text default '') returns boolean
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    held warehouse.claims;
    own_start timestamptz;
begin
    insert into warehouse.claims (holder, subject, process, process_started)
    values (session_user, claim.subject, 0, '-infinity')
    on conflict do nothing;
    select * into held from warehouse.claims
    where claims.holder = session_user and claims.subject = claim.subject
    for update;

    perform pg_stat_clear_snapshot();
    select activity.backend_start into strict own_start
    from pg_stat_activity as activity where activity.pid = pg_backend_pid();
    if own_start is null then
        raise exception 'the administrator of the database cannot see sessions of %: grant it that role', session_user;
    end if;
    if held.process <> pg_backend_pid() and exists (
        select from pg_stat_activity as activity
        where activity.pid = held.process
            and (activity.backend_start is null or activity.backend_start = held.process_started)
    ) then
        return false;
    end if;
    update warehouse.claims
    set
        process = pg_backend_pid(),
        process_started = own_start,
        purpose = claim.purpose,
        place = claim.place,
        claimed_at = clock_timestamp()
    where claims.holder = session_user and claims.subject = claim.subject;
    return true;
end $$;
comment on function warehouse.claim is
'Claim something for this connection, until it is closed; false while another connection of this role has it.';

create function warehouse.claimed_by(subject text) returns table (purpose text, place text, since timestamptz)
language sql security definer set search_path = pg_catalog, pg_temp
as $$
    select claims.purpose, claims.place, claims.claimed_at
    from warehouse.claims
    where claims.holder = session_user and claims.subject = claimed_by.subject and exists (
        select from pg_stat_activity as activity
        where activity.pid = claims.process
            and (activity.backend_start is null or activity.backend_start = claims.process_started)
    )
$$;
comment on function warehouse.claimed_by is
'Which connection of this role has claimed it, and since when; no row when none has.';

revoke execute on function warehouse.claim, warehouse.claimed_by from public;
grant execute on function warehouse.claim to loader, executor;
grant execute on function warehouse.claimed_by to executor;
