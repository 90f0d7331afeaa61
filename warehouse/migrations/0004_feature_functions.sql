-- Recursions whose first input is their state: a tail that starts from a stored state performs the same
-- operations in the same order as the full history, so it yields the same bits.

create function features.ema_step(state float8, x float8, alpha float8) returns float8
language plpgsql immutable parallel safe as
$$
begin
    if state is null then return x; end if;
    if x is null then return state; end if;
    return state + alpha * (x - state);
end
$$;
comment on function features.ema_step is
'state + alpha * (x - state). alpha = 2/(n+1) is the EMA, alpha = 1/n is Wilder''s smoothing.';

create aggregate features.ema(float8, float8) (
    sfunc = features.ema_step, stype = float8, parallel = safe
);

grant execute on all functions in schema features to public;
grant usage on schema features to analyst;
