-- A model decides its own symbols, in the shadow too: those that it was trained on, and who belongs to its universe.

create function ledger.check_shadow_symbol() returns trigger
language plpgsql set search_path = pg_catalog, pg_temp
as $$
declare
    trained record;
begin
    select families.symbols, hypotheses.content ->> 'universe' as universe into trained
    from research.models
    inner join research.runs on models.run_id = runs.run_id
    inner join research.families on runs.family_id = families.family_id
    inner join research.hypotheses on runs.hypothesis_id = hypotheses.hypothesis_id
    where models.model_id = new.model_id;
    if new.symbol = any(trained.symbols) then
        return new;
    end if;
    if trained.universe is not null then
        -- whoever has joined since is ranked too
        if exists (
            select from reference.universes where universes.universe = trained.universe and universes.symbol = new.symbol
        ) then
            return new;
        end if;
    end if;
    raise exception '% is no symbol of model %', new.symbol, new.model_id using errcode = 'check_violation';
end $$;
revoke execute on function ledger.check_shadow_symbol from public;
create trigger symbol_is_the_models before insert on ledger.shadow_decisions
for each row execute function ledger.check_shadow_symbol();
