-- Five roles, eight schemas, and who may write what. A role holds these grants and no others;
-- tests/warehouse/test_roles.py tries every forbidden pair.

do $$
declare role_name text;
begin
    foreach role_name in array array['loader', 'transformer', 'trainer', 'executor', 'analyst'] loop
        if not exists (select from pg_roles where rolname = role_name) then
            execute format('create role %I login', role_name);
        end if;
        -- compiling a query takes longer than the short live reads run
        execute format('alter role %I set jit = off', role_name);
    end loop;
end $$;

create schema raw;
create schema reference;
create schema staging;
create schema canonical;
create schema features;
create schema research;
create schema ledger;
create schema results;

revoke all on schema public from public;
do $$
begin
    execute format('revoke temporary on database %I from public', current_database());
    execute format('grant temporary on database %I to loader, transformer', current_database());
end $$;

-- the transformer is dbt: it owns what it builds
grant create, usage on schema staging, canonical, features, results, reference to transformer;
grant usage on schema raw, research, ledger to transformer;

grant usage on schema raw, reference, canonical to loader;
grant usage on schema reference, canonical, features, research to trainer;
grant usage on schema reference, canonical, features, research, ledger to executor;
grant usage on schema
    raw, reference, staging, canonical, features, research, ledger, results
to analyst;

-- what dbt builds is readable by those downstream of it, whenever it is built
alter default privileges for role transformer in schema canonical
grant select on tables to loader, trainer, executor, analyst;
alter default privileges for role transformer in schema features
grant select on tables to trainer, executor, analyst;
alter default privileges for role transformer in schema reference
grant select on tables to loader, trainer, executor, analyst;
alter default privileges for role transformer in schema staging grant select on tables to analyst;
alter default privileges for role transformer in schema results grant select on tables to analyst;

-- what later migrations create
alter default privileges in schema raw grant select on tables to transformer, analyst;
alter default privileges in schema reference
grant select on tables to loader, transformer, trainer, executor, analyst;
alter default privileges in schema research grant select on tables to transformer, trainer, executor, analyst;
alter default privileges in schema ledger grant select on tables to transformer, executor, analyst;
