-- A dividend at or above the close before it makes the adjustment factor negative or infinite: the cash amount or the
-- price is wrong by a unit.
select
    dividends.symbol,
    dividends.ex_dividend_date,
    dividends.cash_amount,
    bars.close
from {{ ref('stg_polygon__dividends') }} as dividends
inner join {{ ref('ohlcv_1d') }} as bars
    on
        dividends.symbol = bars.symbol
        and dividends.ex_dividend_date = bars.session_date
where dividends.cash_amount >= bars.close
