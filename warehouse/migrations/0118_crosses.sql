-- Two models on one symbol never trade with each other over the broker. What one wants to sell and the other to buy at the
-- same bar passes between their shares by a booking, at the bar's close, together with the decisions that wanted it.

-- until the trigger is there, nobody books what is shared out here
lock table ledger.accounts, ledger.allotments in share row exclusive mode;

create table ledger.crosses (
    cross_id bigint generated always as identity primary key,
    account_id text not null references ledger.accounts,
    symbol text not null,
    seller_decision_id text references ledger.decisions,
    buyer_decision_id text not null references ledger.decisions,
    seller text,
    buyer text not null,
    bar_start timestamptz not null,
    quantity numeric not null check (quantity <> 0 and quantity > '-Infinity' and quantity < 'Infinity'),
    price numeric not null check (price > 0 and price < 'Infinity'),
    broker_time timestamptz not null
    check (isfinite(broker_time) and broker_time <= clock_timestamp() + interval '1 day'),
    noted_at timestamptz not null default clock_timestamp(),
    unique nulls not distinct (buyer_decision_id, seller_decision_id),
    check (seller_decision_id is null or quantity > 0)
);
create index on ledger.crosses (seller_decision_id);
comment on table ledger.crosses is
'What passed from one model''s share of a position to another one''s without an order: wishes of one bar that oppose each other.';
comment on column ledger.crosses.symbol is 'The product''s own symbol.';
comment on column ledger.crosses.seller_decision_id is
'The decision that wanted less; null where the buyer takes up what no model held.';
comment on column ledger.crosses.buyer_decision_id is 'The decision that wanted more.';
comment on column ledger.crosses.seller is 'The model of that decision; null where nobody held it.';
comment on column ledger.crosses.buyer is 'The model of the other one.';
comment on column ledger.crosses.bar_start is 'Start of the bar that was decided, UTC.';
comment on column ledger.crosses.quantity is 'Units that passed; signed only for what no model held.';
comment on column ledger.crosses.price is 'The close of the bar that was decided, at which they passed.';
comment on column ledger.crosses.broker_time is 'When it was decided, by the broker''s clock, UTC.';
comment on column ledger.crosses.noted_at is 'When it was written down, UTC.';

alter table ledger.allotments drop constraint allotments_cause_check;
alter table ledger.allotments add constraint allotments_cause_check
check (cause in ('beginning', 'fill', 'activity', 'adoption', 'hand_over', 'epoch', 'cross'));
comment on column ledger.allotments.cause_id is
'The id of the execution, activity, adoption, retirement or cross; the number of the epoch; empty for a beginning.';

-- A share gives no more than it has, whatever a session believes. Whose it is and which bar decided it, the decisions say.
create function ledger.check_cross() returns trigger
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
    elsif exists (
        select from ledger.crosses where crosses.seller_decision_id = new.buyer_decision_id and new.seller_decision_id is not null
    ) or exists (
        -- one that took up what no model held may sell it
        select from ledger.crosses
        where crosses.buyer_decision_id = new.seller_decision_id and crosses.seller_decision_id is not null
    ) then
        wrong := 'a decision that wanted less cannot want more';
    elsif least(seller.decided_at, buyer.decided_at) < ledger.epoch_start(new.account_id) then
        wrong := 'a decision is of an earlier epoch';
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
create trigger passes_what_is_held before insert on ledger.crosses
for each row execute function ledger.check_cross();

create function ledger.keep_crosses() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
    perform ledger.give_share(
        new.account_id, new.symbol, new.seller, -new.quantity, 'cross', new.cross_id::text
    );
    perform ledger.give_share(
        new.account_id, new.symbol, new.buyer, new.quantity, 'cross', new.cross_id::text
    );
    return null;
end $$;
create trigger moves_shares after insert on ledger.crosses for each row execute function ledger.keep_crosses();
create trigger is_written_now before insert on ledger.crosses
for each row execute function warehouse.check_written('noted_at', 'cross_id');
create trigger only_grows before update or delete or truncate on ledger.crosses
for each statement execute function warehouse.refuse_change();

revoke execute on function ledger.check_cross, ledger.keep_crosses from public;
grant select on ledger.crosses to transformer, executor, analyst;
grant insert (account_id, symbol, seller_decision_id, buyer_decision_id, quantity, price, broker_time)
on ledger.crosses to executor;
