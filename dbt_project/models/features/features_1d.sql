{%- set lookback = 60 %}
{{ config(
    materialized='live',
    changes_from=['ohlcv_1d'],
    timeframe='1d',
    lookback=lookback,
    indexes=[{'columns': ['symbol', 'bar_no'], 'unique': True}],
) }}

with watermarks as (
    {{ live_watermarks() }}
)

select
    watermarks.symbol,
    tail.*
from watermarks
cross join lateral (
    -- the lookback before the watermark, the watermark itself, and every bar after it
    with bars as (
        select
            bar_start,
            bar_no,
            round(adj_open * 10::numeric ^ watermarks.price_decimals)::int8 as open,
            round(adj_high * 10::numeric ^ watermarks.price_decimals)::int8 as high,
            round(adj_low * 10::numeric ^ watermarks.price_decimals)::int8 as low,
            round(adj_close * 10::numeric ^ watermarks.price_decimals)::int8 as close,
            round(adj_volume / watermarks.lot_size)::int8 as volume,
            bar_no = watermarks.bar_no as is_watermark,
            watermarks.bar_no is null or bar_no > watermarks.bar_no as is_after,
            10::float8 ^ watermarks.price_decimals as price_unit
        from {{ ref('ohlcv_1d') }} as ohlcv
        where
            ohlcv.symbol = watermarks.symbol
            and ohlcv.bar_no >= coalesce(watermarks.bar_no - {{ lookback }}, 0)
    ),

    -- rows before the watermark take part in windows only: they get no ordinal, and recursions pass over them
    counted as (
        select
            *,
            coalesce(watermarks.bar_count, 0) + case
                when is_watermark then 0
                when is_after then count(*) filter (where is_after) over bars_in_order
            end as bar_count,
            lag(close) over bars_in_order as last_close,
            {{ previous('close', 1) }} as close_1,
            {{ previous('close', 5) }} as close_5,
            {{ previous('close', 20) }} as close_20,
            {{ previous('close', 60) }} as close_60,
            {{ previous('volume', 1) }} as volume_1
        from bars
        window bars_in_order as (order by bar_no)
    ),

    -- one running sum a quantity; log returns in units of 1e-12
    measured as (
        select
            *,
            close - last_close as change,
            greatest(high, last_close) - least(low, last_close) as true_range,
            round({{ log_ratio('close', 'close_1') }} * 1e12)::int8 as log_return
        from counted
    ),

    summed as (
        select
            *,
            sum(close) over bars_in_order as close_sum,
            sum(volume) over bars_in_order as volume_sum,
            sum(volume::numeric * volume) over bars_in_order as volume_square_sum,
            sum(log_return) over bars_in_order as return_sum,
            sum(log_return::numeric * log_return) over bars_in_order as return_square_sum
        from measured
        window bars_in_order as (order by bar_no)
    ),

    windowed as (
        select
            *,
            ({{ rolling_sum('close_sum', 20) }})::float8 / 20 as close_mean_20,
            {{ rolling_sum('volume_sum', 5) }} as volume_sum_5,
            {{ rolling_sum('volume_sum', 20) }} as volume_sum_20,
            {{ rolling_sum('volume_square_sum', 20) }} as volume_square_sum_20,
            {{ rolling_sum('return_sum', 5, bars=6) }} as return_sum_5,
            {{ rolling_sum('return_square_sum', 5, bars=6) }} as return_square_sum_5,
            {{ rolling_sum('return_sum', 20, bars=21) }} as return_sum_20,
            {{ rolling_sum('return_square_sum', 20, bars=21) }} as return_square_sum_20,
            {{ consecutive(lookback + 1) }} and bar_count > {{ lookback }} as is_ready,
            {{ recursion('ema_12', 'close / price_unit', 2 / 13, 12) }} as ema_12,
            {{ recursion('ema_26', 'close / price_unit', 2 / 27, 26) }} as ema_26,
            {{ recursion('macd_fast', 'close / price_unit', 2 / 13, 12, first=15) }} as macd_fast,
            {{ recursion('mean_gain_14', 'greatest(change, 0) / price_unit', 1 / 14, 14, first=2) }} as mean_gain_14,
            {{ recursion('mean_loss_14', 'greatest(-change, 0) / price_unit', 1 / 14, 14, first=2) }} as mean_loss_14,
            {{ recursion('atr_14', 'true_range / price_unit', 1 / 14, 14, first=2) }} as atr_14
        from summed
        window bars_in_order as (order by bar_no)
    ),

    macd_signalled as (
        select
            *,
            macd_fast - ema_26 as macd,
            {{ recursion('macd_signal', '(macd_fast - ema_26)', 2 / 10, 9, first=26) }} as macd_signal
        from windowed
        window bars_in_order as (order by bar_no)
    ),

    described as (
        select
            bar_start,
            bar_no,
            bar_count,
            is_ready is true as is_ready,

            -- momentum
            {{ log_ratio('close', 'close_1') }} as ret_1,
            {{ log_ratio('close', 'close_5') }} as ret_5,
            {{ log_ratio('close', 'close_20') }} as ret_20,
            {{ log_ratio('close', 'close_60') }} as ret_60,
            case
                when bar_count < 15 then null
                when mean_gain_14 + mean_loss_14 = 0 then 0
                else 100 * (mean_gain_14 / (mean_gain_14 + mean_loss_14))
            end as rsi_14,
            {{ log_ratio('close', 'open') }} as ret_in_session,

            -- trend
            close / price_unit / (close_mean_20 / price_unit) - 1 as close_to_sma_20,
            close / price_unit / ema_12 - 1 as close_to_ema_12,
            close / price_unit / ema_26 - 1 as close_to_ema_26,
            macd / (close / price_unit) as macd_ratio,
            (macd - macd_signal) / (close / price_unit) as macd_histogram_ratio,

            -- volatility
            atr_14 / (close / price_unit) as atr_14_ratio,
            true_range::float8 / last_close as true_range_ratio,
            sqrt((20 * return_square_sum_20 - return_sum_20 * return_sum_20)::float8 / (20 * 19)) / 1e12
                as volatility_20,
            sqrt((5 * return_square_sum_5 - return_sum_5 * return_sum_5)::float8 / (5 * 4)) / 1e12
                as volatility_5,
            {{ log_ratio('high', 'low') }} as range_log,

            -- volume
            {{ log_ratio('volume', 'volume_1') }} as volume_change_1,
            volume * 20 / nullif(volume_sum_20, 0)::float8 - 1 as volume_to_mean_20,
            volume_sum_5 * 4 / nullif(volume_sum_20, 0)::float8 - 1 as volume_5_to_20,
            (20 * volume - volume_sum_20)::float8
                / nullif(sqrt((20 * volume_square_sum_20 - volume_sum_20 * volume_sum_20)::float8 / (20 * 19)) * 20, 0)
                as volume_zscore_20,

            -- levels: in the price's own unit, and the states of the recursions
            close_mean_20 / price_unit as sma_20,
            ema_12,
            ema_26,
            macd_fast,
            macd,
            macd_signal,
            mean_gain_14,
            mean_loss_14,
            atr_14
        from macd_signalled
        where is_after
    )

    select * from described
) as tail
