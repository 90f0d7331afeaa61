-- What each seed was loaded from, so that an unchanged one is left as it is, and what the seeds of rules said when a history was
-- built, so that a reader learns of a change before the build that follows it.

create table canonical.loaded_seeds (
    seed text primary key,
    file text not null,
    rows_hash text not null
);
comment on table canonical.loaded_seeds is 'One row per seed of the dbt project, written when it is loaded.';
comment on column canonical.loaded_seeds.file is
'Hash of the file and of what decides how it is read; empty where lines were left out, which is told at each load.';
comment on column canonical.loaded_seeds.rows_hash is 'Hash of the rows that were loaded.';
grant select, insert, update on canonical.loaded_seeds to transformer;
grant select on canonical.loaded_seeds to executor, analyst;

alter table canonical.live_builds add column seeds jsonb not null default '{}';
comment on column canonical.live_builds.seeds is 'Of each seed of rules below the model the hash of its rows at the build.';
