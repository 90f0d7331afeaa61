-- Prices adjusted for a long chain of splits leave every number of decimals, so adjusted prices and their factors are
-- floats: their precision goes along with their size. A factor stays within what a price may be multiplied by.
create function canonical.compound_step(state float8, x float8) returns float8
language plpgsql immutable strict parallel safe as
$$
begin
    return least(greatest(state * x, 1e-200::float8), 1e200::float8);
end
$$;
create aggregate canonical.compound(float8) (
    sfunc = canonical.compound_step, stype = float8, parallel = safe
);
comment on aggregate canonical.compound(float8) is
'Running product that can start from its stored value; it stays between 1e-200 and 1e200.';

create function canonical.carried_close_step(state numeric, close numeric, split_ratio float8) returns numeric
language plpgsql immutable parallel safe as
$$
begin
    return case
        when close is not null then close
        when split_ratio = 1 then state
        else least(greatest(state::float8 / split_ratio, 1e-100::float8), 1e100::float8)::numeric
    end;
end
$$;
create aggregate canonical.carried_close(numeric, float8) (
    sfunc = canonical.carried_close_step, stype = numeric, parallel = safe
);
comment on aggregate canonical.carried_close(numeric, float8) is
'The newest close so far, in the shares of this bar; a split between them divides it.';

-- Floats that are multiples of a power of two, and sum to less than 2^53 of it, sum without rounding.
create aggregate features.moving_sum(float8) (
    sfunc = float8pl, stype = float8, initcond = '0',
    msfunc = float8pl, minvfunc = float8mi, mstype = float8, minitcond = '0',
    parallel = safe
);
comment on aggregate features.moving_sum(float8) is
'Sum over a window frame that adds what enters and takes away what leaves. Exact for parts of summands, see the macro cut_summand.';
