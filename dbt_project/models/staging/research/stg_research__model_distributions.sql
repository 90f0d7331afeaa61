with source as (
    select * from {{ source('research', 'model_distributions') }}
),

listed as (
    select
        model_id,
        quantity,
        edges,
        shares,
        window_bars,
        window_rows,
        largest_psi,
        contribution
    from source
)

select * from listed
