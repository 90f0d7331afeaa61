"""What bench.backtest runs in the peers' own environment: the same weights at the same prices, by somebody else.

    python -m bench.backtest_peers vectorbt|backtrader CASE

CASE is a file of NumPy with opens (T + 1, S), weights (N, T, S) and side: the weights of row t are bought at the open
of row t, and a trade costs `side` of its value. Prints seconds of the second run as JSON, and writes the equity at each
open (N, T + 1), which begins with 1, beside CASE.
"""

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

START = 1e6


def vectorbt(opens: np.ndarray, weights: np.ndarray, side: float) -> np.ndarray:
    """Every trial is a group of columns that share one purse; sales come first, so that there is money."""
    import vectorbt as vbt

    count, length, symbols = weights.shape
    prices = np.tile(opens, (1, count))
    wanted = np.full((length + 1, count * symbols), np.nan)
    wanted[:-1] = weights.transpose(1, 0, 2).reshape(length, count * symbols)
    portfolio = vbt.Portfolio.from_orders(
        close=prices,
        size=wanted,
        size_type="targetpercent",
        fees=side,
        init_cash=START,
        group_by=np.repeat(np.arange(count), symbols),
        cash_sharing=True,
        call_seq="auto",
    )
    value = np.asarray(portfolio.value()).reshape(length + 1, count)
    # at an open, before what is traded there
    paid = np.zeros((length + 1, count))
    records = portfolio.orders.records
    np.add.at(paid, (records["idx"], records["col"] // symbols), records["fees"])
    return ((value + paid) / START).T


def backtrader(opens: np.ndarray, weights: np.ndarray, side: float) -> np.ndarray:
    """One engine a trial: at each open a strategy sees prices and orders the difference, in fractions of a share."""
    return np.stack([_backtrader(opens, trial, side) for trial in weights])


def _backtrader(opens: np.ndarray, weights: np.ndarray, side: float) -> np.ndarray:
    import backtrader as bt
    import pandas as pd

    length, symbols = weights.shape
    equity = np.empty(length + 1)

    class Rebalanced(bt.Strategy):
        def next_open(self) -> None:
            # the strategy itself has not moved on to this bar yet
            row = len(self.data) - 1
            prices = [data.open[0] for data in self.datas]
            held = [self.getposition(data).size for data in self.datas]
            equity[row] = self.broker.get_cash() + sum(units * price for units, price in zip(held, prices, strict=True))
            if row == length:
                return
            for data, price, units, weight in zip(self.datas, prices, held, weights[row], strict=True):
                change = weight * equity[row] / price - units
                if change > 0:
                    self.buy(data=data, size=change)
                elif change < 0:
                    self.sell(data=data, size=-change)

        # the first bar has no bar before it, and no call of its own kind
        nextstart_open = prenext_open = next_open

    engine = bt.Cerebro(stdstats=False, cheat_on_open=True)
    engine.broker.setcash(START)
    engine.broker.setcommission(commission=side)
    engine.broker.set_checksubmit(False)
    index = pd.date_range("2000-01-03", periods=length + 1, freq="h")
    for column in range(symbols):
        frame = pd.DataFrame(dict.fromkeys(("open", "high", "low", "close"), opens[:, column]), index=index)
        engine.adddata(bt.feeds.PandasData(dataname=frame, volume=None, openinterest=None))
    engine.addstrategy(Rebalanced)
    engine.run()
    return equity / START


PEERS: dict[str, Callable[[np.ndarray, np.ndarray, float], np.ndarray]] = {
    "vectorbt": vectorbt,
    "backtrader": backtrader,
}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.backtest_peers", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("peer", choices=PEERS)
    parser.add_argument("case", type=Path, help="the file of NumPy")
    options = parser.parse_args()
    name, case = options.peer, options.case
    given = np.load(case)
    arguments = given["opens"], given["weights"], float(given["side"])
    # what is compiled is compiled at the first run
    PEERS[name](arguments[0][:50], arguments[1][:, :49], arguments[2])
    started = time.perf_counter()
    equity = PEERS[name](*arguments)
    print(json.dumps({"seconds": time.perf_counter() - started}))
    np.save(case.with_suffix(f".{name}.npy"), equity)


if __name__ == "__main__":
    main()
