-- An order's fills and its broker id are looked up for every order; without these each look-up reads all of them.

create index on ledger.fills (client_order_id);
create index on ledger.order_events (broker_order_id);
