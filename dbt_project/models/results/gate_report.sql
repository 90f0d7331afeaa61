with checks as (
    select
        hypotheses.experiment_id,
        trials.trial_id,
        trials.trial_no,
        verdicts.look_no,
        verdicts.verdict,
        gate_checks.tier,
        gate_checks.check_name,
        gate_checks.outcome,
        gate_checks.value,
        gate_checks.comparison,
        gate_checks.threshold,
        gate_checks.explanation,
        verdicts.decided_at
    from {{ ref('stg_research__gate_checks') }} as gate_checks
    inner join {{ ref('stg_research__verdicts') }} as verdicts
        on gate_checks.trial_id = verdicts.trial_id and gate_checks.look_no = verdicts.look_no
    inner join {{ ref('stg_research__trials') }} as trials on gate_checks.trial_id = trials.trial_id
    inner join {{ ref('stg_research__hypotheses') }} as hypotheses on trials.hypothesis_id = hypotheses.hypothesis_id
)

select * from checks
