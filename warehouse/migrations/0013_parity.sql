-- A decision's feature vector, recomputed as it could be known at a moment. Both times are arguments: which bar, and when.

create function features.vector_as_of(
    of_symbol text, of_timeframe text, of_bar_start timestamptz, of_features text[], at_moment timestamptz
) returns float8[]
language plpgsql volatile as
$$
declare
    looked_from text := current_setting('truebar.as_of', true);
    vector float8[];
begin
    perform set_config('truebar.as_of', coalesce(at_moment::text, ''), true);
    execute format(
        'select array[%s]::float8[] from features.%I where symbol = $1 and bar_start = $2',
        (select string_agg(format('%I', name), ', ' order by position) from unnest(of_features)
            with ordinality as names (name, position)),
        'features_' || of_timeframe
    ) into vector using of_symbol, of_bar_start;
    perform set_config('truebar.as_of', coalesce(looked_from, ''), true);
    return vector;
end
$$;
comment on function features.vector_as_of is
'The named features of a bar, in their order, from what had landed by a moment (null: by now). Null when there was no such row.';
