-- An action that cannot be true is applied to nothing and stops nobody's build. A person has to look at it.
{{ config(severity='warn') }}
select *
from {{ ref('refused_actions') }}
