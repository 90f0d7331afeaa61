-- What a decision wants is kept with it: the close that it was sized at, and the units by which it wanted a share
-- changed. Nothing passes between shares at another price or beyond what both decisions want, and no order is for more.

alter table ledger.decisions
add column price numeric check (price > 0 and price < 'Infinity'),
add column wanted numeric check (wanted > '-Infinity' and wanted < 'Infinity'),
add constraint decisions_wish_check check ((price is null) = (wanted is null));
comment on column ledger.decisions.price is
'The close of the bar as it was read, at which the change was sized; null in rows from before this was kept.';
comment on column ledger.decisions.wanted is
'Units by which the model wanted its share of the position changed, signed; null in rows from before this was kept.';
grant insert (price, wanted) on ledger.decisions to executor;

-- What a decision has got already: by its order, whatever became of that, and by crosses with other decisions.
create function ledger.claimed_of(decision text) returns numeric
language sql stable set search_path = pg_catalog, pg_temp
as $$
    select
        coalesce((select sum(intents.quantity) from ledger.intents where intents.decision_id = decision), 0)
        + coalesce((select sum(crosses.quantity) from ledger.crosses where crosses.seller_decision_id = decision), 0)
        + coalesce((
            select sum(crosses.quantity) from ledger.crosses
            where crosses.buyer_decision_id = decision and crosses.seller_decision_id is not null
        ), 0)
$$;
comment on function ledger.claimed_of is
'Units that a decision''s order is for, with those that passed to or from another decision instead.';

create or replace function ledger.check_intent() returns trigger
language plpgsql set search_path = pg_catalog, pg_temp
as $$
declare
    decision ledger.decisions;
begin
    select * into decision from ledger.decisions where decisions.decision_id = new.decision_id;
    if decision.decision_id is not null
        and (decision.account_id, decision.symbol) is distinct from (new.account_id, new.symbol) then
        raise exception 'intent % is of another account or symbol than its decision', new.client_order_id
            using errcode = 'check_violation';
    end if;
    if decision.price <> new.reference_price then
        raise exception 'intent % is at %, and its decision was sized at %',
            new.client_order_id, new.reference_price, decision.price using errcode = 'check_violation';
    end if;
    if ledger.claimed_of(new.decision_id) + new.quantity
        > (case new.side when 'sell' then -decision.wanted else decision.wanted end) then
        raise exception 'intent % is to % %, and its decision wanted %',
            new.client_order_id, new.side, new.quantity, decision.wanted using errcode = 'check_violation';
    end if;
    return new;
end $$;

-- as before, at the close that both were sized at, when the buyer was decided, and of what both want
create or replace function ledger.check_cross() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    seller ledger.decisions;
    buyer ledger.decisions;
    has numeric;
    wrong text;
begin
    perform ledger.await_balances(new.account_id);
    select * into seller from ledger.decisions where decisions.decision_id = new.seller_decision_id;
    select * into buyer from ledger.decisions where decisions.decision_id = new.buyer_decision_id;
    select coalesce(sum(shares.amount), 0) into has
    from ledger.shares
    where shares.account_id = new.account_id and shares.symbol = new.symbol
        and shares.model_id is not distinct from seller.model_id;
    if (buyer.account_id, buyer.symbol) is distinct from (new.account_id, new.symbol) or (
        new.seller_decision_id is not null
        and (seller.account_id, seller.symbol) is distinct from (new.account_id, new.symbol)
    ) then
        wrong := 'a decision is of another account or symbol';
    elsif seller.model_id = buyer.model_id then
        wrong := 'both decisions are of one model';
    elsif (seller.timeframe, seller.bar_start) <> (buyer.timeframe, buyer.bar_start) then
        wrong := 'the decisions are of two bars';
    elsif least(seller.decided_at, buyer.decided_at) < ledger.epoch_start(new.account_id) then
        wrong := 'a decision is of an earlier epoch';
    elsif new.price is distinct from buyer.price
        or (new.seller_decision_id is not null and new.price is distinct from seller.price) then
        wrong := format(
            'it is at %s, and they were sized at %s', new.price, concat_ws(' and ', seller.price, buyer.price)
        );
    elsif new.broker_time <> buyer.broker_time then
        wrong := format('that was decided at %s', buyer.broker_time);
    elsif new.seller_decision_id is not null and (
        ledger.claimed_of(new.seller_decision_id) + new.quantity > coalesce(-seller.wanted, 0)
        or ledger.claimed_of(new.buyer_decision_id) + new.quantity > coalesce(buyer.wanted, 0)
    ) then
        wrong := format('the decisions wanted %s and %s in all', seller.wanted, buyer.wanted);
    elsif has * new.quantity < 0 or abs(new.quantity) > abs(has) then
        wrong := format('%s are held', has);
    end if;
    if wrong is not null then
        raise exception '% % of account % cannot pass between shares: %', new.quantity, new.symbol, new.account_id, wrong
            using errcode = 'check_violation';
    end if;
    new.seller := seller.model_id;
    new.buyer := buyer.model_id;
    new.bar_start := buyer.bar_start;
    return new;
end $$;

revoke execute on function ledger.claimed_of from public;
grant execute on function ledger.claimed_of to executor;
