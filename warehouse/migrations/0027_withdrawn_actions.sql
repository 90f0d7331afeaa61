-- A vendor announces an action and takes it back. The withdrawal is a revision of the action, so that a look back at a moment
-- before it still finds the action.

alter table raw.polygon_splits add column is_withdrawn boolean not null default false;
alter table raw.polygon_dividends add column is_withdrawn boolean not null default false;
comment on column raw.polygon_splits.is_withdrawn is
'the vendor no longer lists the action with this ticker and date; landed_at is when that was seen';
comment on column raw.polygon_dividends.is_withdrawn is
'the vendor no longer lists the action with this ticker and date; landed_at is when that was seen';
-- all actions of a symbol are compared with what the vendor lists
create index on raw.polygon_splits (ticker);
create index on raw.polygon_dividends (ticker);
