-- What counts together is what is related, not what has the same key. A window moved by a day, a fraction changed, `end`
-- left out, a list of symbols tried one after the other: none of it starts afresh.

alter table research.gate_looks add column occasion xid8;
comment on table research.gate_looks is
'One row per family and look. Looks of one occasion, judged together, are one look at all that is related.';
comment on column research.gate_looks.look_no is 'The how-manieth occasion on which these or related trials were judged, from 1.';
comment on column research.gate_looks.trials is 'Trials that counted: those of the family and all that are related to the judged ones.';
comment on column research.gate_looks.occasion is 'The transaction of the look; null before looks had occasions.';

alter table research.verdicts add column tail_cost float8, add column tail_cost_years float8;
comment on column research.verdicts.tail_cost is
'What the worst moves of the asset class would take at the largest positions held, as a fraction of equity.';
comment on column research.verdicts.tail_cost_years is 'Years of its earnings that this is; null for a trial that earns nothing.';

-- Numbers make no other idea: changing one by a little would start afresh. What the grid chose is what was tried, whatever
-- stands in its place in the file.
create function research.idea(content jsonb, chosen jsonb) returns jsonb
language sql immutable parallel safe set search_path = pg_catalog, pg_temp
as $$
    select jsonb_build_object(
        'timeframe', content -> 'timeframe',
        'model_type', content -> 'model_type',
        'feature_groups', coalesce(chosen -> 'feature_groups', content -> 'feature_groups'),
        'features', coalesce(chosen -> 'features', content -> 'features'),
        'exclude_features', coalesce(chosen -> 'exclude_features', content -> 'exclude_features'),
        'target', coalesce(chosen -> 'target.kind', content #> '{target,kind}'),
        'position_sizing', coalesce(chosen -> 'position_sizing.policy', content #> '{position_sizing,policy}')
    )
$$;
comment on function research.idea is 'What a trial of a hypothesis believes, without its name, symbols, dates and numbers.';

-- Overlap is measured by the shorter window, so that neither a long one nor many short ones hide what was tried.
create function research.related_trials(family text, hypothesis text) returns table (trial_id text)
language sql stable set search_path = pg_catalog, pg_temp
as $$
    select trials.trial_id
    from research.families as own
    cross join lateral (
        select array_agg(distinct research.idea(own_hypothesis.content, own_trials.parameters)) as ideas
        from research.trials as own_trials
        inner join research.hypotheses as own_hypothesis on own_trials.hypothesis_id = own_hypothesis.hypothesis_id
        where own_trials.family_id = own.family_id and own_trials.hypothesis_id = related_trials.hypothesis
    ) as tried_here
    inner join research.families as others
        on own.family_id = others.family_id
        or least(own.oos_end, others.oos_end) - greatest(own.oos_start, others.oos_start)
        > 0.2 * least(own.oos_end - own.oos_start, others.oos_end - others.oos_start)
    inner join research.trials on others.family_id = trials.family_id
    inner join research.hypotheses as tried on trials.hypothesis_id = tried.hypothesis_id
    where own.family_id = related_trials.family
        and (own.symbols && others.symbols or research.idea(tried.content, trials.parameters) = any(tried_here.ideas))
$$;
comment on function research.related_trials is
'Trials that count with those of a family and hypothesis: their out-of-sample windows overlap by more than a fifth of the
shorter one, and they share a symbol or are the same idea on others.';

create function research.looks_before(family text, hypotheses text[]) returns integer
language sql stable set search_path = pg_catalog, pg_temp
as $$
    select count(distinct coalesce(looks.occasion::text, looks.family_id || ' ' || looks.look_no))::integer
    from research.verdicts
    inner join research.gate_looks as looks
        on verdicts.family_id = looks.family_id and verdicts.look_no = looks.look_no
    where (looks.occasion is null or looks.occasion is distinct from pg_current_xact_id_if_assigned())
        and verdicts.trial_id in (
            select related.trial_id
            from unnest(hypotheses) as hypothesis
            cross join lateral research.related_trials(looks_before.family, hypothesis) as related
        )
$$;
comment on function research.looks_before is
'On how many occasions trials of these hypotheses in this family, or trials related to them, were judged before.';

create function research.look_level(look integer) returns float8
language sql immutable parallel safe set search_path = pg_catalog, pg_temp
as $$ select 0.02::float8 * 2 / ((look + 1) * (look + 2)) $$;
comment on function research.look_level is 'What the look may spend: all looks together stay below 0.02.';

create or replace function research.record_look(family text, look integer, judged jsonb) returns void
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    wrong text;
    hypotheses text[];
begin
    -- looks count each other, whatever families they are at
    lock table research.gate_looks in share row exclusive mode;
    if jsonb_typeof(judged) is distinct from 'array' or jsonb_array_length(judged) = 0 then
        raise exception 'a look without a verdict is none';
    end if;

    select entry ->> 'trial_id' into wrong
    from jsonb_array_elements(judged) as entry
    where not exists (
        select from research.trials where trials.trial_id = entry ->> 'trial_id' and trials.family_id = family
    ) or exists (
        select from research.verdicts where verdicts.trial_id = entry ->> 'trial_id'
    )
    limit 1;
    if found then
        raise exception 'trial % is not one of family % that waits for its verdict', wrong, family;
    end if;

    select array_agg(distinct trials.hypothesis_id) into hypotheses
    from jsonb_array_elements(judged) as entry
    inner join research.trials on trials.trial_id = entry ->> 'trial_id';
    if look is distinct from 1 + research.looks_before(family, hypotheses) then
        raise exception 'look % is not the next one of family %', look, family;
    end if;

    -- a verdict says what its checks say
    select entry ->> 'trial_id' into wrong
    from jsonb_array_elements(judged) as entry
    cross join lateral (
        select
            count(*) as checks,
            count(*) filter (where one ->> 'outcome' = 'failed') as failed,
            count(*) filter (where one ->> 'outcome' = 'passed') as passed
        from jsonb_array_elements(entry -> 'checks') as one
    ) as counted
    where entry ->> 'verdict' is distinct from case
        when counted.failed > 0 then 'FAILED'
        when counted.checks > 0 and counted.passed = counted.checks then 'PASSED'
        else 'INSUFFICIENT_EVIDENCE'
    end
    limit 1;
    if found then
        raise exception 'the verdict on trial % is not what its checks say', wrong;
    end if;

    insert into research.gate_looks (family_id, look_no, trials, alpha, occasion)
    select family, look, count(distinct related.trial_id), research.look_level(look), pg_current_xact_id()
    from unnest(hypotheses) as hypothesis
    cross join lateral research.related_trials(family, hypothesis) as related;

    insert into research.verdicts (
        trial_id, look_no, family_id, verdict, explanation, years_missing, net_sharpe, shrunk_sharpe,
        deflated_sharpe_probability, minimum_track_record_years, pbo, tail_cost, tail_cost_years
    )
    select
        entry.trial_id, look, family, entry.verdict, entry.explanation, entry.years_missing, entry.net_sharpe,
        entry.shrunk_sharpe, entry.deflated_sharpe_probability, entry.minimum_track_record_years, entry.pbo,
        entry.tail_cost, entry.tail_cost_years
    from jsonb_populate_recordset(null::research.verdicts, judged) as entry;

    insert into research.gate_checks (
        trial_id, look_no, tier, check_name, value, threshold, comparison, outcome, explanation, years_missing
    )
    select
        entry ->> 'trial_id', look, one.tier, one.check_name, one.value, one.threshold, one.comparison, one.outcome,
        one.explanation, one.years_missing
    from jsonb_array_elements(judged) as entry
    cross join lateral jsonb_populate_recordset(null::research.gate_checks, entry -> 'checks') as one;
end $$;

-- The same path under the same thresholds, with its dates spelled otherwise, is not judged again.
create function research.repeat_verdict(trial text, of_trial text) returns boolean
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
    lock table research.gate_looks in share row exclusive mode;
    if exists (select from research.verdicts where verdicts.trial_id = trial) or not exists (
        select
        from research.trials as own
        inner join research.trials as other on own.family_id = other.family_id
        inner join research.hypotheses as own_hypothesis on own.hypothesis_id = own_hypothesis.hypothesis_id
        inner join research.hypotheses as other_hypothesis on other.hypothesis_id = other_hypothesis.hypothesis_id
        where own.trial_id = trial and other.trial_id = of_trial
            and own.skill_in_sample is not distinct from other.skill_in_sample
            and own.skill_out_of_sample is not distinct from other.skill_out_of_sample
            and own_hypothesis.content -> 'gate' is not distinct from other_hypothesis.content -> 'gate'
            and own_hypothesis.content -> 'position_sizing' is not distinct from other_hypothesis.content -> 'position_sizing'
    ) or exists (
        select symbol, bar_start, fold, score, position, asset_return, cost
        from research.trial_returns where trial_returns.trial_id = trial
        except
        select symbol, bar_start, fold, score, position, asset_return, cost
        from research.trial_returns where trial_returns.trial_id = of_trial
    ) or (
        select count(*) filter (where trial_returns.trial_id = trial) <> count(*) filter (where trial_returns.trial_id = of_trial)
        from research.trial_returns where trial_returns.trial_id in (trial, of_trial)
    ) then
        return false;
    end if;

    insert into research.verdicts (
        trial_id, look_no, family_id, verdict, explanation, years_missing, net_sharpe, shrunk_sharpe,
        deflated_sharpe_probability, minimum_track_record_years, pbo, tail_cost, tail_cost_years
    )
    select
        trial, look_no, family_id, verdict, explanation, years_missing, net_sharpe, shrunk_sharpe,
        deflated_sharpe_probability, minimum_track_record_years, pbo, tail_cost, tail_cost_years
    from research.verdicts as known
    where known.trial_id = of_trial and known.look_no = (
        select max(verdicts.look_no) from research.verdicts where verdicts.trial_id = of_trial
    );
    if not found then
        return false;
    end if;
    insert into research.gate_checks (
        trial_id, look_no, tier, check_name, value, threshold, comparison, outcome, explanation, years_missing
    )
    select trial, look_no, tier, check_name, value, threshold, comparison, outcome, explanation, years_missing
    from research.gate_checks as known
    where known.trial_id = of_trial and known.look_no = (
        select max(verdicts.look_no) from research.verdicts where verdicts.trial_id = of_trial
    );
    return true;
end $$;
comment on function research.repeat_verdict is
'A trial whose stored path is another one''s, under the same thresholds, has its verdict, at the same look. False for another.';

revoke execute on function research.idea, research.related_trials, research.looks_before, research.look_level,
    research.repeat_verdict from public;
grant execute on function research.idea, research.related_trials, research.looks_before, research.look_level
    to gate, trainer;
grant execute on function research.repeat_verdict to gate;
