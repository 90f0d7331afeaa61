-- An action that the bars contradict, or a step like an action's that none explains. A person has to look at it, and
-- decides in the seed confirmations.
{{ config(severity='warn') }}
select *
from {{ ref('suspected_actions') }}
