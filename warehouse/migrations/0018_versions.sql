-- Every role can see which migrations were applied, and stops when they are not those of its code.

grant usage on schema warehouse to loader, transformer, trainer, executor, analyst;
grant select on warehouse.migrations to loader, transformer, trainer, executor, analyst;
