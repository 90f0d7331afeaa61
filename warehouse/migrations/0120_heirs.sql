-- A retired model's share goes to who took its place: a model of the same hypothesis, or one that began to trade the symbol
-- after it was retired. Who traded beside it all along has a share of its own, and keeps to that.

create function ledger.heirs(account text, traded text, retired text) returns setof text
language sql stable set search_path = pg_catalog, pg_temp
as $$
    select models.model_id
    from ledger.accounts
    cross join research.models
    inner join research.hypotheses on models.hypothesis_id = hypotheses.hypothesis_id
    inner join research.runs on models.run_id = runs.run_id
    inner join research.families on runs.family_id = families.family_id
    cross join lateral (
        select states.state from research.model_states as states
        where states.model_id = models.model_id
        order by states.entered_at desc
        limit 1
    ) as newest
    where
        accounts.account_id = account and traded = any(families.symbols)
        and newest.state in ('live', accounts.mode)
        and (
            hypotheses.experiment_id = (
                select own.experiment_id
                from research.models as old
                inner join research.hypotheses as own on old.hypothesis_id = own.hypothesis_id
                where old.model_id = retired
            )
            or (
                select min(states.entered_at) from research.model_states as states
                where states.model_id = models.model_id and states.state in ('live', accounts.mode)
            ) >= (
                select max(states.entered_at) from research.model_states as states
                where states.model_id = retired and states.state = 'retired'
            )
        )
    order by newest.state <> accounts.mode, models.model_id
$$;
comment on function ledger.heirs is
'Models that took the place of a retired one and trade the symbol: of its hypothesis, or there only since it was retired. First those in the state that such an account asks for.';

create or replace view ledger.left_behind as
select
    holders.account_id,
    holders.symbol,
    holders.quantity,
    holders.model_id,
    (
        select heirs.model_id
        from ledger.heirs(holders.account_id, holders.symbol, holders.model_id)
            with ordinality as heirs (model_id, place)
        inner join ledger.accounts on holders.account_id = accounts.account_id
        where accounts.mode = (
            select states.state from research.model_states as states
            where states.model_id = heirs.model_id
            order by states.entered_at desc
            limit 1
        )
        order by heirs.place
        limit 1
    ) as successor
from ledger.holders
where
    'retired' = (
        select states.state from research.model_states as states
        where states.model_id = holders.model_id
        order by states.entered_at desc
        limit 1
    ) and not exists (
        select from ledger.adoptions
        where
            adoptions.account_id = holders.account_id and adoptions.finding = 'apart'
            and adoptions.subject = holders.symbol and adoptions.adopted_at >= ledger.epoch_start(holders.account_id)
    );
comment on view ledger.left_behind is
'Shares of retired models, and the model that took the place on such an account, paper or live, if one did.';

-- as before, for who took its place
create or replace function ledger.check_retirement() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    held ledger.left_behind;
    wrong text;
begin
    perform ledger.await_balances(new.account_id);
    select * into held from ledger.left_behind
    where account_id = new.account_id and symbol = new.symbol and model_id = new.model_id;
    if held.model_id is null then
        wrong := format('nothing of it is of model %s, or that is not retired', new.model_id);
    elsif new.quantity <> held.quantity then
        wrong := format('%s are held of model %s', held.quantity, new.model_id);
    elsif new.act = 'hand_over' and not exists (
        select from ledger.heirs(new.account_id, new.symbol, new.model_id) as heirs (model_id)
        where heirs.model_id = new.successor
    ) then
        wrong := format('model %s does not trade it in its place', new.successor);
    elsif new.act = 'close' and exists (
        select from ledger.retirements
        where
            account_id = new.account_id and symbol = new.symbol and model_id = new.model_id and act = 'close'
            and noted_at >= ledger.epoch_start(new.account_id)
    ) then
        wrong := 'that was said before';
    end if;
    if wrong is not null then
        raise exception '% of % in account % cannot be: %', new.act, new.symbol, new.account_id, wrong
            using errcode = 'check_violation';
    end if;
    return new;
end $$;

revoke execute on function ledger.heirs from public;
grant execute on function ledger.heirs to transformer, executor, analyst;
