with distributions as (
    select * from {{ ref('stg_research__model_distributions') }}
),

models as (
    select * from {{ ref('stg_research__models') }}
),

contributing as (
    select
        distributions.model_id,
        models.trial_id,
        distributions.quantity as feature,
        distributions.contribution,
        distributions.contribution
        / nullif(sum(distributions.contribution) over (partition by distributions.model_id), 0) as share_of_all
    from distributions
    inner join models on distributions.model_id = models.model_id
    where distributions.contribution is not null
)

select * from contributing
