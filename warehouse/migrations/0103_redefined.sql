-- A model in the shadow whose features are computed otherwise for good decides nothing and can take no look. It ends as
-- retired, with the reason, and not as one that waits for ever.

create function research.redefined_since(model text, of_feature text) returns timestamptz
language sql stable set search_path = pg_catalog, pg_temp
as $$
    with asked as (
        select
            families.timeframe, runs.feature_fingerprints ->> of_feature as fingerprint,
            greatest(models.registered_at, (
                select max(audits.audited_at)
                from research.feature_audits as audits
                where
                    audits.timeframe = families.timeframe and audits.feature = of_feature
                    and audits.fingerprint = runs.feature_fingerprints ->> of_feature
            )) as newest_alike
        from research.models
        inner join research.runs using (run_id)
        inner join research.families using (family_id)
        where models.model_id = model
    )
    select min(audits.audited_at)
    from asked
    inner join research.feature_audits as audits
        on asked.timeframe = audits.timeframe and (
            (audits.feature = of_feature and audits.audited_at > asked.newest_alike)
            -- an audit writes a row per feature within moments: an hour later it is another one, without this feature
            or audits.audited_at > asked.newest_alike + interval '1 hour'
        )
$$;
comment on function research.redefined_since is
'When an audit first found a feature computed otherwise than a model was trained on, or gone; null where none did.';

create function research.retire_redefined(model text, changed text[], days integer) returns boolean
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    since timestamptz;
begin
    if days < 7 then
        raise exception 'who changed a feature by mistake has a week at least to take it back, and % days are less', days;
    end if;
    select min(research.redefined_since(model, feature)) into since from unnest(changed) as feature;
    if since is null or since > clock_timestamp() - make_interval(days => days) then
        return false;
    end if;
    perform research.append_state(
        model, array['shadow'], 'retired',
        format(
            'since %s %s is computed otherwise than it was trained on, or gone',
            to_char(since at time zone 'UTC', 'YYYY-MM-DD'), array_to_string(changed, ', ')
        )
    );
    return true;
end $$;
comment on function research.retire_redefined is
'Retire a model in the shadow when an audit found one of these features computed otherwise, or gone, so many days ago.';

revoke execute on function research.retire_redefined, research.redefined_since from public;
grant execute on function research.retire_redefined to gate;
grant execute on function research.redefined_since to analyst, gate;
