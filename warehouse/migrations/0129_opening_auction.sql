-- An order may be for the opening auction alone: it trades there or not at all.
alter table ledger.intents drop constraint intents_time_in_force_check;
alter table ledger.intents
add constraint intents_time_in_force_check check (time_in_force in ('day', 'gtc', 'opg'));
