-- Like has_bar: a view asks a history for the first bar that was added to it, and must not stand on it.
create function canonical.first_bar_after(model text, of_symbol text, starting_at timestamptz) returns timestamptz
language plpgsql stable parallel safe as
$$
declare
    found_one timestamptz;
begin
    execute format(
        'select min(bar_start) from canonical.%I where symbol = $1 and bar_start > $2', model || '__history'
    )
    into found_one using of_symbol, starting_at;
    return found_one;
end
$$;
comment on function canonical.first_bar_after is
'When the first bar of a symbol after a moment starts in the history of a live model of canonical bars; null without one.';
grant execute on function canonical.first_bar_after to public;
