{{ config(materialized='view') }}

select
    instruments.symbol,
    instruments.calendar,
    precedence.timeframe,
    precedence.source,
    vendor_symbols.vendor_symbol,
    vendor_symbols.valid_from,
    vendor_symbols.valid_to,
    precedence.rank,
    precedence.volume_rank
from {{ ref('instruments') }} as instruments
inner join {{ ref('precedence') }} as precedence on instruments.asset_class = precedence.asset_class
inner join {{ ref('stg_vendors__symbols') }} as vendor_symbols
    on instruments.symbol = vendor_symbols.symbol and precedence.source = vendor_symbols.vendor
