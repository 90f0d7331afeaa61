-- A sum over the last n bars that adds what enters and takes away what leaves. On integers that is exact, so it does not
-- matter where the series began, and its cost does not depend on n.
create aggregate features.moving_sum(int8) (
    sfunc = int8pl, stype = int8,
    msfunc = int8pl, minvfunc = int8mi, mstype = int8,
    parallel = safe
);
comment on aggregate features.moving_sum(int8) is
'Exact sum of integers over a window frame. Raises "bigint out of range" past 2^63: what is summed saturates before that.';

-- Strict: the first value becomes the state, and null values leave it alone, without a call.
create or replace function features.ema_step(state float8, x float8, alpha float8) returns float8
language plpgsql immutable strict parallel safe as
$$ begin return state + alpha * (x - state); end $$;

grant execute on all functions in schema features to public;

create table canonical.definitions (
    relation text primary key,
    definition text not null
);
comment on table canonical.definitions is
'md5 of the SQL that each view and live model was last built from, comments and layout left out; fingerprints stand on it.';
grant select, insert, update on canonical.definitions to transformer;
grant select on canonical.definitions to analyst;
