-- Views must not stand on a live model's history: a full refresh swaps it. This looks into it by name.
create function canonical.has_bar(model text, of_symbol text, starting_at timestamptz) returns boolean
language plpgsql stable parallel safe as
$$
declare
    found_one boolean;
begin
    execute format('select exists (select 1 from canonical.%I where symbol = $1 and bar_start = $2)', model || '__history')
    into found_one using of_symbol, starting_at;
    return found_one;
end
$$;
comment on function canonical.has_bar is
'Whether the history of a live model of canonical bars has the bar of a symbol that starts at a moment.';
grant execute on function canonical.has_bar to transformer, trainer, executor, analyst;
