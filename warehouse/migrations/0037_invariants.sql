-- What cannot be true is not recorded, whoever writes it: these triggers and checks bind the owner too. Checks are for new
-- rows; what is there already stays.

-- Arguments: the column that says when the row was written, and its identity column if it has one. As the owner, because
-- nobody else may look at the sequence. A minute is for clocks that are set.
create function warehouse.check_written() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    moment timestamptz;
    identity bigint;
    relation text := format('%I.%I', tg_table_schema, tg_table_name);
begin
    execute format('select ($1).%I', tg_argv[0]) into moment using new;
    if moment is null or moment not between now() - interval '1 minute' and clock_timestamp() + interval '1 minute' then
        raise exception '%.% is the moment at which the row is written, not %', relation, tg_argv[0], moment
            using errcode = 'check_violation';
    end if;
    if tg_nargs > 1 then
        execute format('select ($1).%I', tg_argv[1]) into identity using new;
        begin
            if identity = currval(pg_get_serial_sequence(relation, tg_argv[1])) then
                return new;
            end if;
        exception when object_not_in_prerequisite_state then
            null; -- nothing was counted on this connection yet, so the number is not its own
        end;
        raise exception '%.% counts itself, and % is not the next number', relation, tg_argv[1], identity
            using errcode = 'check_violation';
    end if;
    return new;
end $$;
comment on function warehouse.check_written is 'A row says truly when it was written, and which in order it is.';

create function warehouse.check_transaction() returns trigger
language plpgsql set search_path = pg_catalog, pg_temp
as $$
begin
    if new.landed_xid is distinct from pg_current_xact_id() then
        raise exception '%.landed_xid is the transaction that writes the row', tg_table_name using errcode = 'check_violation';
    end if;
    return new;
end $$;

create function warehouse.refuse_change() returns trigger
language plpgsql set search_path = pg_catalog, pg_temp
as $$
begin
    raise exception '%.% only grows: what is wrong in it is answered by a new row', tg_table_schema, tg_table_name
        using errcode = 'insufficient_privilege';
end $$;

do $$
declare
    written record;
begin
    for written in
        select
            relations.oid::regclass as relation,
            relations.relnamespace::regnamespace::text as schema_name,
            max(columns.attname) filter (where pg_get_expr(defaults.adbin, defaults.adrelid) = 'clock_timestamp()') as moment,
            max(columns.attname) filter (where columns.attidentity <> '') as identity,
            bool_or(columns.attname = 'landed_xid') as has_transaction
        from pg_class as relations
        inner join pg_attribute as columns on relations.oid = columns.attrelid and columns.attnum > 0
        left join pg_attrdef as defaults on columns.attrelid = defaults.adrelid and columns.attnum = defaults.adnum
        where relations.relnamespace in ('raw'::regnamespace, 'research'::regnamespace, 'ledger'::regnamespace)
            and relations.relkind = 'r' and relations.relname <> 'feeds'
        group by relations.oid
    loop
        if written.schema_name in ('research', 'ledger') then
            execute format(
                'create trigger only_grows before update or delete or truncate on %s
                for each statement execute function warehouse.refuse_change()', written.relation
            );
        end if;
        -- a state follows the newest one, whatever the clock says; landed bars are checked by statement, below
        if written.relation = 'research.model_states'::regclass or exists (
            select from pg_trigger where tgrelid = written.relation and tgname = 'note_landing'
        ) then
            continue;
        end if;
        if written.moment is not null then
            execute format(
                'create trigger is_written_now before insert on %s for each row execute function warehouse.check_written(%s)',
                written.relation, concat_ws(', ', quote_literal(written.moment), quote_literal(written.identity))
            );
        end if;
        if written.has_transaction and written.relation <> 'raw.landings'::regclass then
            execute format(
                'create trigger is_of_its_transaction before insert on %s
                for each row execute function warehouse.check_transaction()', written.relation
            );
        end if;
    end loop;
end $$;

-- as before, and a look at what the rows say of their landing
create or replace function raw.note_landing() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp set timezone = 'UTC' as
$$
declare
    landing raw.landings;
begin
    if exists (
        select from landed
        where landed_xid is distinct from pg_current_xact_id()
            or landed_at not between now() - interval '1 minute' and clock_timestamp() + interval '1 minute'
    ) then
        raise exception 'raw.%: landed_at and landed_xid are the moment and the transaction of the landing', tg_table_name
            using errcode = 'check_violation';
    end if;
    for landing in execute format(
        'insert into raw.landings
        (relation, source, vendor_symbol, timeframe, first_bar, last_bar, rows_landed, landed_at, landed_xid)
        select %1$L, %2$s, %3$s, %4$s, min(%5$s), max(%5$s), count(*), max(landed_at), landed_xid
        from landed group by 2, 3, 4, landed_xid returning *',
        tg_table_name, tg_argv[0], tg_argv[1], tg_argv[2], tg_argv[3]
    ) loop
        perform pg_notify('landings', json_build_object(
            'landing_id', landing.landing_id,
            'source', left(landing.source, 200),
            'vendor_symbol', left(landing.vendor_symbol, 200),
            'timeframe', left(landing.timeframe, 200),
            'first_bar', landing.first_bar,
            'last_bar', landing.last_bar,
            'rows', landing.rows_landed
        )::text);
    end loop;
    return null;
end
$$;

-- A file of a month may land before the month has ended. Nothing later was ever answered completely.
alter table raw.coverage
add constraint window_has_ended check (
    isfinite(window_start) and isfinite(window_end) and window_end <= asked_at + interval '32 days'
) not valid,
add constraint rows_are_counted check (rows_received >= 0 and rows_landed >= 0) not valid;
alter table raw.fill_attempts
add constraint window_is_finite check (isfinite(window_start) and isfinite(window_end)) not valid;
alter table reference.trading_sessions
add constraint session_is_finite check (isfinite(open_at) and isfinite(close_at)) not valid;

alter table research.trial_returns
add constraint returns_are_numbers check (
    coalesce(score, 0) > '-Infinity' and coalesce(score, 0) < 'Infinity'
    and position > '-Infinity' and position < 'Infinity'
    and asset_return > '-Infinity' and asset_return < 'Infinity'
    and cost > '-Infinity' and cost < 'Infinity'
    and net_return > '-Infinity' and net_return < 'Infinity'
) not valid;

create function research.check_state() returns trigger
language plpgsql set search_path = pg_catalog, pg_temp
as $$
declare
    newest timestamptz;
begin
    select max(states.entered_at) into newest from research.model_states as states where states.model_id = new.model_id;
    if new.entered_at <= newest or new.entered_at > greatest(clock_timestamp(), newest) + interval '1 minute' then
        raise exception 'a state of model % is entered now, not at %', new.model_id, new.entered_at
            using errcode = 'check_violation';
    end if;
    return new;
end $$;
create trigger is_entered_now before insert on research.model_states
for each row execute function research.check_state();

-- PostgreSQL orders NaN above infinity: what is less than infinity is a number. No moment of a broker's is more than a day
-- ahead: a reconciliation of the year 9999 would have no later one look at anything.
alter table ledger.decisions
add constraint decision_is_numbers check (
    score > '-Infinity' and score < 'Infinity' and target_weight > '-Infinity' and target_weight < 'Infinity'
    and cardinality(feature_names) = cardinality(feature_values)
) not valid,
add constraint decision_is_of_its_time check (
    isfinite(bar_start) and isfinite(bar_end) and bar_start <= bar_end
    and isfinite(broker_time) and broker_time <= clock_timestamp() + interval '1 day'
) not valid;
alter table ledger.intents
add constraint intent_is_numbers check (
    quantity < 'Infinity' and reference_price > 0 and reference_price < 'Infinity'
) not valid;
alter table ledger.order_events
add constraint filled_is_a_number check (filled_quantity >= 0 and filled_quantity < 'Infinity') not valid,
add constraint event_is_of_its_time check (
    isfinite(happened_at) and happened_at <= clock_timestamp() + interval '1 day'
) not valid;
alter table ledger.fills
add constraint fill_is_numbers check (quantity < 'Infinity' and price < 'Infinity') not valid,
add constraint fill_is_of_its_time check (
    isfinite(filled_at) and filled_at <= clock_timestamp() + interval '1 day'
) not valid;
alter table ledger.activities
add constraint activity_is_numbers check (
    quantity > '-Infinity' and quantity < 'Infinity' and cash > '-Infinity' and cash < 'Infinity'
) not valid,
add constraint activity_is_of_its_time check (
    isfinite(happened_at) and happened_at <= clock_timestamp() + interval '1 day'
) not valid;
alter table ledger.reconciliations
add constraint reconciliation_is_of_its_time check (
    isfinite(broker_time) and broker_time <= clock_timestamp() + interval '1 day'
) not valid;
alter table ledger.epochs
add constraint epoch_is_of_its_time check (
    isfinite(broker_time) and broker_time <= clock_timestamp() + interval '1 day'
) not valid;

create function ledger.check_epoch() returns trigger
language plpgsql set search_path = pg_catalog, pg_temp
as $$
begin
    if new.epoch_no <> (
        select coalesce(max(epochs.epoch_no), 0) + 1 from ledger.epochs where epochs.account_id = new.account_id
    ) then
        raise exception 'epoch % is not the next one of account %', new.epoch_no, new.account_id
            using errcode = 'check_violation';
    end if;
    return new;
end $$;
create trigger is_the_next before insert on ledger.epochs for each row execute function ledger.check_epoch();

create function ledger.check_intent() returns trigger
language plpgsql set search_path = pg_catalog, pg_temp
as $$
begin
    if exists (
        select from ledger.decisions
        where decisions.decision_id = new.decision_id
            and (decisions.account_id, decisions.symbol) is distinct from (new.account_id, new.symbol)
    ) then
        raise exception 'intent % is of another account or symbol than its decision', new.client_order_id
            using errcode = 'check_violation';
    end if;
    return new;
end $$;
create trigger follows_its_decision before insert on ledger.intents
for each row execute function ledger.check_intent();

create function ledger.check_fill() returns trigger
language plpgsql set search_path = pg_catalog, pg_temp
as $$
begin
    if exists (
        select from ledger.intents
        where intents.client_order_id = new.client_order_id and (
            intents.verdict <> 'approved'
            or (intents.account_id, intents.symbol, intents.side) is distinct from (new.account_id, new.symbol, new.side)
        )
    ) then
        raise exception 'execution % is of another account, symbol or side than order %, or that was never to be sent',
            new.execution_id, new.client_order_id using errcode = 'check_violation';
    end if;
    return new;
end $$;
create trigger belongs_to_its_order before insert on ledger.fills
for each row execute function ledger.check_fill();

create function ledger.check_continuation() returns trigger
language plpgsql set search_path = pg_catalog, pg_temp
as $$
begin
    if exists (
        select from ledger.intents
        where intents.client_order_id = new.client_order_id
            and (intents.verdict <> 'approved' or intents.account_id <> new.account_id)
    ) then
        raise exception 'order % is of another account, or was never to be sent', new.client_order_id
            using errcode = 'check_violation';
    end if;
    return new;
end $$;
create trigger belongs_to_its_order before insert on ledger.order_continuations
for each row execute function ledger.check_continuation();

-- A person may have adopted what contradicts an order: then it may end with what was booked. Where somebody replaced it at
-- the broker, its quantity is another.
create function ledger.check_order_event() returns trigger
language plpgsql set search_path = pg_catalog, pg_temp
as $$
declare
    intent ledger.intents;
    newest ledger.order_events;
    known_as text;
    wrong text;
begin
    select * into intent from ledger.intents where intents.client_order_id = new.client_order_id;
    if not found then
        return new;
    end if;
    select * into newest from ledger.order_events
    where order_events.client_order_id = new.client_order_id
    order by order_events.event_id desc
    limit 1;
    select max(order_events.broker_order_id) into known_as from ledger.order_events
    where order_events.client_order_id = new.client_order_id;

    if intent.verdict <> 'approved' then
        wrong := 'it was refused before it was sent';
    elsif (newest.status is null) <> (new.status = 'submitting') then
        wrong := 'an order begins as submitting, once';
    elsif known_as is not null and new.status in ('unknown', 'not_sent') then
        wrong := 'the broker has it';
    elsif new.broker_order_id <> known_as then
        wrong := format('at the broker it is %s', known_as);
    elsif exists (
        select from ledger.order_events
        inner join ledger.intents on order_events.client_order_id = intents.client_order_id
        where order_events.broker_order_id = new.broker_order_id
            and intents.account_id = intent.account_id and intents.client_order_id <> intent.client_order_id
            -- before a reset, or of an order that the broker has lost, an id means nothing any more
            and intents.written_at >= ledger.epoch_start(intent.account_id)
            and not exists (
                select from ledger.adoptions
                where adoptions.account_id = intent.account_id and adoptions.subject = intents.client_order_id
            )
    ) then
        wrong := format('%s is another order at the broker', new.broker_order_id);
    elsif exists (
        select from ledger.adoptions
        where adoptions.account_id = intent.account_id and adoptions.subject = intent.client_order_id
    ) then
        return new;
    elsif new.filled_quantity < newest.filled_quantity then
        wrong := format('%s of it were filled', newest.filled_quantity);
    elsif newest.status = 'filled' and new.status <> 'filled' and not exists (
        select from ledger.order_continuations where order_continuations.client_order_id = intent.client_order_id
    ) then
        wrong := 'it was filled';
    end if;
    if wrong is not null then
        raise exception 'order % cannot be % with % filled: %', new.client_order_id, new.status, new.filled_quantity, wrong
            using errcode = 'check_violation';
    end if;
    return new;
end $$;
create trigger follows_its_past before insert on ledger.order_events
for each row execute function ledger.check_order_event();

-- At the end of the transaction, because a fill may be recorded before what replaced its order.
create function ledger.check_filled() returns trigger
language plpgsql set search_path = pg_catalog, pg_temp
as $$
declare
    ordered numeric;
begin
    select intents.quantity into ordered from ledger.intents where intents.client_order_id = new.client_order_id;
    if greatest(
        (select sum(fills.quantity) from ledger.fills where fills.client_order_id = new.client_order_id),
        (
            select max(order_events.filled_quantity) from ledger.order_events
            where order_events.client_order_id = new.client_order_id
        )
    ) > ordered and not exists (
        select from ledger.order_continuations where order_continuations.client_order_id = new.client_order_id
    ) then
        raise exception 'order % is for %, and more of it would be filled', new.client_order_id, ordered
            using errcode = 'check_violation';
    end if;
    return null;
end $$;
create constraint trigger is_not_overfilled after insert on ledger.fills
deferrable initially deferred for each row execute function ledger.check_filled();
create constraint trigger is_not_overfilled after insert on ledger.order_events
deferrable initially deferred for each row execute function ledger.check_filled();

-- a trigger's function needs no caller
revoke execute on function
warehouse.check_written, warehouse.check_transaction, warehouse.refuse_change, research.check_state, ledger.check_epoch,
ledger.check_intent, ledger.check_fill, ledger.check_continuation, ledger.check_order_event, ledger.check_filled
from public;
