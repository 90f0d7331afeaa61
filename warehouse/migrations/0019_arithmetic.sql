-- A recursion that decays arrives: half of a half goes on until PostgreSQL refuses the product as an underflow, and a
-- market that is silent for hours would fail the reading of all others. Where the difference is below 1e-290, the next
-- state is the value itself, whichever way it is computed.
create or replace function features.ema_step(state float8, x float8, alpha float8) returns float8
language plpgsql immutable strict parallel safe as
$$
begin
    return case when abs(x - state) < 1e-290 then x else state + alpha * (x - state) end;
end
$$;

-- a ticker's actions are found without sorting everybody's
create index on raw.polygon_splits (ticker);
create index on raw.polygon_dividends (ticker);
