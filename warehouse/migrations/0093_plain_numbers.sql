-- PostgreSQL 16 and later take 0x2 and 1_000 for numbers, 15 and Python do not: a seed's line means the same everywhere.

create or replace function canonical.is_readable(written text, of_type text) returns boolean
language plpgsql stable set timezone = 'UTC' as
$$
begin
    if of_type in ('numeric', 'integer') and written !~ '^[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?$' then
        return false;
    end if;
    execute format('select %L::%s', written, of_type::regtype);
    return true;
exception when data_exception then
    return false;
end
$$;
