-- What a vendor says of a listing or a name and the seeds do not. A person decides, and writes the line or leaves it.
{{ config(severity='warn') }}
select *
from {{ ref('proposed_lines') }}
