-- What the seeds of decisions and of vendors' names said of each symbol when a build last read them: `ingest` loads them too,
-- and a reader learns of a line before the build that follows it.

create table canonical.read_lines (
    model text not null,
    symbol text not null,
    lines text not null,
    primary key (model, symbol)
);
comment on table canonical.read_lines is
'One row per symbol and model that is made of a seed''s lines of it, and one with an empty symbol for the seed as a whole.';
comment on column canonical.read_lines.lines is
'Hash of the symbol''s lines when the model was last written; with an empty symbol rows_hash of canonical.loaded_seeds.';
grant select, insert, delete on canonical.read_lines to transformer;
grant select on canonical.read_lines to executor, analyst;
