{#
    Statements that keep readers out for a moment, as one: a view that is replaced, a table that is put in another's place. Whoever
    has read one of the relations and not ended the transaction keeps them waiting, and while they wait, everybody who comes
    to read waits behind them. So they are tried for half a second, all of them or none, and tried again after a pause in which
    readers pass, until the session's lock_timeout is over.

    A reader who has read one relation and wants another may wait for this, while this waits for the reader. PostgreSQL looks
    for such a pair after deadlock_timeout and ends one of the two; a try is over before that.
#}
{% macro patiently(steps) -%}
    do $patiently$
    declare
        waits constant interval := (
            select settings.setting::integer * interval '1 ms' from pg_settings as settings where settings.name = 'lock_timeout'
        );
        a_try constant interval := (
            select least(interval '500 ms', settings.setting::integer * interval '1 ms' / 2)
            from pg_settings as settings
            where settings.name = 'deadlock_timeout'
        );
        started constant timestamptz := clock_timestamp();
        try_started timestamptz;
    begin
        loop
            try_started := clock_timestamp();
            begin
                {%- for step in steps %}
                perform set_config(
                    'lock_timeout',
                    greatest(1, extract(epoch from try_started + a_try - clock_timestamp()) * 1000)::integer::text,
                    true
                );
                {{ step }};
                {%- endfor %}
                perform set_config('lock_timeout', (extract(epoch from waits) * 1000)::integer::text, true);
                exit;
            exception when lock_not_available then
                -- the locks of this try are given back here
                if waits > interval '0' and clock_timestamp() > started + waits then
                    raise;
                end if;
            end;
            perform pg_sleep_for(least(interval '2 s', (clock_timestamp() - started) / 2));
        end loop;
    end
    $patiently$
{%- endmacro %}
