-- Nobody says what the database computes. A role that may insert names the columns that are its to fill; identities, moments
-- of writing and transactions are PostgreSQL's. warehouse/rights.yaml is the table of what is left, and a test walks it.

do $$
declare
    inserted record;
begin
    for inserted in
        select
            relations.oid::regclass::text as relation,
            grants.grantee::regrole::text as role_name,
            (
                select string_agg(quote_ident(columns.attname), ', ' order by columns.attnum)
                from pg_attribute as columns
                left join pg_attrdef as defaults
                    on columns.attrelid = defaults.adrelid and columns.attnum = defaults.adnum
                where columns.attrelid = relations.oid and columns.attnum > 0 and not columns.attisdropped
                    and columns.attidentity = ''
                    and coalesce(pg_get_expr(defaults.adbin, defaults.adrelid), '')
                        not in ('clock_timestamp()', 'pg_current_xact_id()')
            ) as its_columns
        from pg_class as relations
        cross join lateral aclexplode(relations.relacl) as grants
        where relations.relnamespace in ('raw'::regnamespace, 'research'::regnamespace, 'ledger'::regnamespace)
            and relations.relkind = 'r' and grants.privilege_type = 'INSERT' and grants.grantee <> relations.relowner
            -- what a collector is doing is told again every ten seconds, by itself
            and relations.relname <> 'feeds'
            and exists (
                select from pg_attribute as columns
                left join pg_attrdef as defaults
                    on columns.attrelid = defaults.adrelid and columns.attnum = defaults.adnum
                where columns.attrelid = relations.oid and (
                    columns.attidentity <> ''
                    or pg_get_expr(defaults.adbin, defaults.adrelid) in ('clock_timestamp()', 'pg_current_xact_id()')
                )
            )
    loop
        execute format('revoke insert on %s from %s', inserted.relation, inserted.role_name);
        execute format('grant insert (%s) on %s to %s', inserted.its_columns, inserted.relation, inserted.role_name);
    end loop;
end $$;

-- A halt and its release are functions, which compute moment and order themselves.
revoke insert on ledger.halts from executor;

-- for the functions below, and nobody else
create function ledger.append_halt(account text, wanted text, said text) returns void
language plpgsql set search_path = pg_catalog, pg_temp
as $$
begin
    -- halts and releases of one account take turns
    perform from ledger.accounts where accounts.account_id = account for no key update;
    if not found then
        raise exception 'the ledger knows no account %', account;
    end if;
    if coalesce(trim(said), '') = '' then
        raise exception 'a % needs a reason', wanted;
    end if;
    if wanted = 'release' and coalesce((
        select halts.action from ledger.halts where halts.account_id = account order by halts.halt_id desc limit 1
    ), 'release') = 'release' then
        raise exception 'account % is not halted', account;
    end if;
    insert into ledger.halts (account_id, action, reason) values (account, wanted, said);
end $$;

create function ledger.halt_account(account text, reason text) returns void
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$ begin perform ledger.append_halt(account, 'halt', reason); end $$;
comment on function ledger.halt_account is 'Stop trading an account until it is released.';

create function ledger.instruct_account(account text, action text, reason text) returns void
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$ begin perform ledger.append_halt(account, action, reason); end $$;
comment on function ledger.instruct_account is
'Say what an account may do from now on, such as to trade again: an act of the operator.';

revoke execute on function ledger.append_halt, ledger.halt_account, ledger.instruct_account from public;
grant execute on function ledger.halt_account to executor, operator;
grant execute on function ledger.instruct_account to operator;
grant usage on schema ledger to operator;

-- A search path that does not name pg_temp begins with it: a temporary table could stand for one of the catalog's.
alter function raw.refresh_statistics() set search_path = pg_catalog, pg_temp;
alter function reference.count_session_bars(text) set search_path = pg_catalog, pg_temp;

-- what is made from now on belongs to nobody until it is granted
alter default privileges revoke execute on functions from public;
alter default privileges for role transformer revoke execute on functions from public;
