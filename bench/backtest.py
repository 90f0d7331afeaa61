"""python -m bench.backtest: the account of a backtest beside vectorbt and beside an engine of events, on equal weights.

Random walks, long-only weights that change at every bar, each traded at the next open at a cost: the product's
`Market.run`, vectorbt's `Portfolio.from_orders`, and backtrader, whose strategy is called at every open. All three have
to come to the same equity at each open. The product's account does what the others do not: bars in which nobody trades,
several calendars, borrow, interest, limits, delistings; here it has nothing of the kind to do.

The peers live in an environment of their own, .venv/peers, which this makes at its first run, and needs a network for
that. Each is timed on its second run, without its imports.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from models_registry.rebalancing import Rebalancing
from training.accounting import Market, Terms, Wanted
from training.costs import Rates
from training.dataset import Dataset

BIN = Path(sys.executable).parent
PEERS = BIN.parent / "peers"
PACKAGES = ("vectorbt==1.2.0", "backtrader==1.9.78.123")
SIDE = 5e-4
TOLERANCE = 1e-9


@dataclass(frozen=True)
class Case:
    """So many trials of so many symbols over so many decisions."""

    trials: int
    symbols: int
    bars: int

    def __str__(self) -> str:
        return f"{self.trials} trials x {self.symbols} symbols x {self.bars:,} bars"


CASES = (Case(1, 1, 20_000), Case(1, 20, 5_000), Case(24, 1, 5_000), Case(24, 20, 500))


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.backtest", description=(__doc__ or "").splitlines()[0])
    parser.parse_args()
    _install()
    differ = False
    with tempfile.TemporaryDirectory() as folder:
        for number, case in enumerate(CASES):
            opens, weights = _drawn(case, seed=number)
            path = Path(folder) / f"{number}.npz"
            np.savez(path, opens=opens, weights=weights, side=SIDE)
            equity, seconds = _ours(opens, weights)
            print(f"{case}: {_speed(case, seconds)} here", flush=True)
            for peer in ("vectorbt", "backtrader"):
                theirs, taken = _theirs(peer, path)
                apart = float(np.abs(theirs / equity - 1.0).max())
                differ |= not apart <= TOLERANCE
                told = f"{taken / seconds:6.2f} of our time; equity differs by {apart:.1e}"
                print(f"    {peer:10} {_speed(case, taken)}, {told}", flush=True)
    return 1 if differ else 0


def _speed(case: Case, seconds: float) -> str:
    return f"{case.trials * case.symbols * case.bars / seconds:12,.0f} bars/s"


def _drawn(case: Case, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Opens (T + 1, S), and weights (N, T, S) that add up to at most nine tenths."""
    generator = np.random.default_rng(seed)
    moves = generator.normal(0.0, 0.01, (case.bars + 1, case.symbols))
    weights = generator.random((case.trials, case.bars, case.symbols))
    return 50.0 * np.exp(moves.cumsum(axis=0)), 0.9 * weights / case.symbols


def _ours(opens: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, float]:
    """Equity at each open (N, T + 1), and the seconds that it took."""
    length, symbols = len(opens), opens.shape[1]
    # a decision is made one bar before the open at which it is filled
    dataset = Dataset(
        symbols=tuple(f"S{number}" for number in range(symbols)),
        timeframe="1h",
        sessions=np.datetime64("2000-01-03", "us") + np.arange(length + 1) * np.timedelta64(3_600, "s"),
        opens=np.concatenate([opens[:1], opens]),
        features=np.zeros((length + 1, symbols, 1)),
        ready=np.ones((length + 1, symbols), dtype=bool),
        fingerprints={"made_up": "1"},
        unready_rows=0,
    )
    terms = Terms(Rates(np.full(symbols, SIDE), np.zeros(symbols), 0.0), Rebalancing(band=0.0))
    started = time.perf_counter()
    market = Market(dataset, 0, length - 2)
    accounts = market.run(Wanted(weights), [terms] * len(weights))
    net = np.stack([(one.positions * market.returns_of(one.positions) - one.costs).sum(axis=1) for one in accounts])
    seconds = time.perf_counter() - started
    # the exit is paid here, and not there
    for number, account in enumerate(accounts):
        last = account.positions[-1] * (1.0 + market.returns[-1])
        net[number, -1] += SIDE * np.abs(last).sum()
    equity = np.ones((len(weights), length))
    equity[:, 1:] = np.cumprod(1.0 + net, axis=1)
    return equity, seconds


def _theirs(peer: str, path: Path) -> tuple[np.ndarray, float]:
    command = [str(PEERS / "bin" / "python"), "-m", "bench.backtest_peers", peer, str(path)]
    root = Path(__file__).resolve().parent.parent
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{peer} failed:\n{done.stderr}")
    return np.load(path.with_suffix(f".{peer}.npy")), float(json.loads(done.stdout)["seconds"])


def _install() -> None:
    uv = str(BIN / "uv")
    if not PEERS.exists():
        print(f"… installing {' and '.join(PACKAGES)} into {PEERS}", flush=True)
        subprocess.run([uv, "venv", "-q", "-p", sys.executable, str(PEERS)], check=True)
    subprocess.run([uv, "pip", "install", "-q", "-p", str(PEERS), *PACKAGES], check=True)


if __name__ == "__main__":
    sys.exit(main())
