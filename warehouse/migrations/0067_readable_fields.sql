-- A field of a seed that its type cannot hold costs its line, and not the build of everybody.

create function canonical.is_readable(written text, of_type text) returns boolean
language plpgsql stable set timezone = 'UTC' as
$$
begin
    execute format('select %L::%s', written, of_type::regtype);
    return true;
exception when data_exception then
    return false;
end
$$;
comment on function canonical.is_readable is 'Whether a text can be a value of a type, given by its name.';
grant execute on function canonical.is_readable to public;
