-- Asked this way round on purpose. `landed_at <= canonical.as_of()` would be a condition of the indexes that end in
-- landed_at, and since PostgreSQL 18 a planner that expects few rows skips through such an index a ticker at a time: it
-- cost a live read of a warehouse with a thousand symbols twelve milliseconds.
create function canonical.was_known(landed_at timestamptz) returns boolean
language sql stable parallel safe as
$$ select coalesce(nullif(current_setting('truebar.as_of', true), '')::timestamptz >= landed_at, true) $$;
comment on function canonical.was_known is 'Whether what landed at a moment was known at canonical.as_of().';
