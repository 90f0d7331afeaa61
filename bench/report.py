"""python -m bench.report [--trials N] [--days N]: how long the report's site takes, and how large its pages are.

A new warehouse gets hypotheses of twenty trials each, of one symbol and so many days out of sample, as a search would
have left them, with every check of a look. Then the site is written once as the analyst. What is told: seconds, how
many pages, the size of the start page and of the largest page.
"""

import argparse
import os
import tempfile
import time
from pathlib import Path

from flows.dbt_command import run_dbt
from report.site import write
from warehouse import embedded
from warehouse.connection import endpoint, open_connection
from warehouse.migrate import bring_up

TRIALS, TRIALS_OF_ONE, DAYS = 200, 20, 2_500

SEARCH = """
insert into research.hypotheses (hypothesis_id, experiment_id, content, source_file)
select
    'h' || number, 'idea_' || number, '{"target": {"kind": "binary", "horizon": 1}}',
    'experiments/idea_' || number || '.yaml'
from generate_series(1, %(hypotheses)s) as number;

insert into research.families (family_id, symbols, timeframe, oos_start, oos_end, oos_bars, periods_per_year)
values ('f', array['AAPL'], '1d', '2010-01-04 14:30+00', '2020-01-04 14:30+00', %(days)s, 252);

insert into research.runs (
    run_id, hypothesis_id, family_id, data_start, data_watermark, rows_used, rows_unready, device, feature_fingerprints,
    library_versions
)
select 'r' || number, 'h' || number, 'f', '2005-01-03', '2020-01-04', 1000, 0, 'cpu', '{}', '{}'
from generate_series(1, %(hypotheses)s) as number;

insert into research.trials (trial_id, run_id, hypothesis_id, family_id, trial_no, parameters, left_out)
select
    format('t%%s-%%s', run, trial), 'r' || run, 'h' || run, 'f', trial, jsonb_build_object('max_depth', trial), '{}'
from generate_series(1, %(hypotheses)s) as run, generate_series(1, %(trials)s) as trial;

insert into research.trial_returns (
    trial_id, symbol, bar_start, fold, score, position, trade, asset_return, benchmark_return, cost, interest,
    net_return
)
select
    trial_id, 'AAPL', '2010-01-04 14:30+00'::timestamptz + day * interval '35 hours', 1 + 8 * day / %(days)s,
    0.2 * random() - 0.1, 0.5, 0.01, 0.02 * random() - 0.0099, 0.01 * random() - 0.0049, 0.00001, 0,
    0.01 * random() - 0.0049
from research.trials
cross join generate_series(0, %(days)s - 1) as day;

insert into research.gate_looks (family_id, look_no, trials, alpha) values ('f', 1, 200, 0.0067);

insert into research.verdicts (trial_id, look_no, family_id, verdict, explanation, net_sharpe, shrunk_sharpe)
select trial_id, 1, 'f', 'FAILED', 'it failed', random(), random() - 0.5 from research.trials;

insert into research.gate_checks (
    trial_id, look_no, tier, check_name, value, threshold, comparison, outcome, explanation
)
select
    trial_id, 1, 1 + number / 8, 'check_' || number, random(), 0.5, '>=',
    case when number < 20 then 'passed' else 'failed' end, 'what the check saw, and what would have passed'
from research.trials
cross join generate_series(1, 21) as number;

analyze
"""


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.report", description=(__doc__ or "").split("\n")[0])
    parser.add_argument(
        "--trials", type=int, default=TRIALS, help=f"a multiple of {TRIALS_OF_ONE} (default: %(default)s)"
    )
    parser.add_argument("--days", type=int, default=DAYS, help="out of sample (default: %(default)s)")
    options = parser.parse_args()
    for name in ("DATABASE_URL", "PGHOST", "PGUSER", "PGPASSFILE"):
        os.environ.pop(name, None)
    with tempfile.TemporaryDirectory() as folder:
        os.environ["TRUEBAR_STATE_DIR"] = folder
        bring_up()
        try:
            print("… making relations and trials", flush=True)
            run_dbt("build", "--exclude-resource-type", "test", "--exclude-resource-type", "unit_test")
            _search(options.trials, options.days)
            _measure(Path(folder) / "report")
        finally:
            embedded.stop(Path(folder))


def _search(trials: int, days: int) -> None:
    where = endpoint()
    values = {"hypotheses": max(1, trials // TRIALS_OF_ONE), "trials": min(trials, TRIALS_OF_ONE), "days": days}
    with open_connection(where, where.conninfo()) as owner:
        # verdicts are written by the gate alone, and this is none
        owner.execute("set session_replication_role = replica")
        for statement in SEARCH.split(";\n"):
            owner.execute(statement.encode(), values)


def _measure(folder: Path) -> None:
    began = time.perf_counter()
    site = write(folder)
    seconds = time.perf_counter() - began
    sizes = {path: path.stat().st_size for path in site.index.parent.resolve().rglob("*.html")}
    largest = max(sizes, key=lambda path: sizes[path])
    print(f"{site.pages} pages in {seconds:.1f} s")
    print(f"start page {site.index.stat().st_size / 1e3:,.0f} kB")
    print(f"largest {largest.name}, {sizes[largest] / 1e3:,.0f} kB; all {sum(sizes.values()) / 1e6:,.1f} MB")


if __name__ == "__main__":
    main()
