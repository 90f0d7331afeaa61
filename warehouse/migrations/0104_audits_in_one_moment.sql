-- An audit is told from the next one by its moment: a feature that is gone soon after an audit was taken for one that the
-- same audit had not come to yet, and no audit after it ever said that it is gone.

create or replace function research.record_feature_audit(timeframe text, fingerprints jsonb, peeking text[]) returns void
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    moment timestamptz := clock_timestamp();
begin
    insert into research.feature_audits (timeframe, feature, fingerprint, passed, audited_at)
    select record_feature_audit.timeframe, audited.key, audited.value, audited.key <> all (peeking), moment
    from jsonb_each_text(fingerprints) as audited;
end $$;
comment on function research.record_feature_audit is
'Features of a timeframe by name with their fingerprints, and the names of those that knew the future, at one moment.';

create or replace function research.redefined_since(model text, of_feature text) returns timestamptz
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
            -- without this feature; before 0104 the rows of one audit were some milliseconds apart
            or audits.audited_at > asked.newest_alike + interval '1 second'
        )
$$;
