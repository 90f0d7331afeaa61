-- A warehouse that came from another database trades nothing before a person says so: the other one may trade the same accounts.
-- So it is noted where the warehouse lives, and what a server finds that was not written there is told by `migrate`.

create table warehouse.homes (
    home_no integer generated always as identity primary key,
    identity text not null,
    since timestamptz not null default clock_timestamp()
);
comment on table warehouse.homes is
'Where this warehouse has lived, the newest last: the number that a server gives itself when it is made, and the database.';
grant select on warehouse.homes to loader, transformer, trainer, executor, analyst, gate, operator;

-- an account that a dump does not know yet may have been opened in the database that it was taken from
create function ledger.halt_if_moved() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
    if (select count(*) from warehouse.homes) > 1 then
        perform ledger.append_halt(
            new.account_id, 'halt', 'opened after the warehouse had come from another database, which may trade it already'
        );
    end if;
    return null;
end $$;
revoke execute on function ledger.halt_if_moved from public;
create trigger halt_if_moved after insert on ledger.accounts for each row execute function ledger.halt_if_moved();
