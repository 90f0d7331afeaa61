"""What happened, as short tables on the terminal, and queries that show more. The site is flows/report.py's."""

from dataclasses import dataclass

from rich.console import Console
from rich.table import Table

from warehouse.connection import connect


@dataclass(frozen=True)
class Section:
    """A titled query over `results` and `ledger`."""

    title: str
    sql: str


SECTIONS = (
    Section(
        "Hypotheses and the gate",
        """
select experiment_id as hypothesis, array_to_string(symbols, ' ') as symbols, count(*) as trials,
    count(*) filter (where verdict = 'PASSED') as passed, round(max(net_sharpe)::numeric, 2) as best_net_sharpe,
    round(max(shrunk_sharpe)::numeric, 2) as shrunk,
    case when bool_or(survivors_only) then 'yes' end as survivors_only, coalesce(max(model_id), 'none') as model
from results.leaderboard
group by experiment_id, symbols
order by passed desc, experiment_id asc""",
    ),
    Section(
        "Why the best trial of each hypothesis failed",
        """
select distinct on (experiment_id)
    experiment_id as hypothesis, round(net_sharpe::numeric, 2) as net_sharpe, failed_checks
from results.leaderboard
where experiment_id not in (select experiment_id from results.leaderboard where verdict = 'PASSED')
order by experiment_id asc, net_sharpe desc""",
    ),
    Section(
        "Paper trading",
        """
select model_id as model, symbol, orders, filled, first_bar::date as "from", last_bar::date as "to", slippage_bps,
    round(profit, 2) as profit, round(100 * symbol_return::numeric, 1) as "symbol_%"
from results.paper_record
order by model_id, symbol""",
    ),
    Section(
        "Accounts, on the first and the last of their days",
        """
select account_id as account, session_date as session, round(cash, 2) as cash, round(invested, 2) as invested,
    round(equity, 2) as equity
from results.equity
where (account_id, session_date) in (
    select account_id, unnest(array[min(session_date), max(session_date)]) from results.equity group by account_id
)
order by account_id, session_date""",
    ),
    Section(
        "Reconciliations",
        """
select
    account_id as account, times_reconciled as times, reconciled as newest,
    reconciled_at at time zone 'UTC' as newest_utc,
    (
        select count(*) from results.reconciliations
        where reconciliations.account_id = accounts.account_id and outcome = 'discrepancy'
    ) as discrepancies
from results.accounts
order by account_id""",
    ),
)

MORE = (
    ("every check of every trial", "select * from results.gate_report where experiment_id = 'planted_edge'"),
    ("every order and what it cost", "select * from results.execution_quality order by bar_start"),
    ("the equity curve", "select * from results.equity order by account_id, session_date"),
    (
        "features of one symbol",
        "select * from features.features_1d where symbol = 'AAPL' order by bar_start desc limit 5",
    ),
)


def print_summary(address: str) -> None:
    """Print all sections, the SQL that shows more, and the address of the site."""
    console = Console()
    if not console.is_terminal:
        console = Console(width=130)
    for section, header, rows in _results():
        table = Table(title=section.title, title_justify="left", title_style="bold")
        for name in header:
            table.add_column(name.replace("_", " "), overflow="fold")
        for row in rows:
            table.add_row(*row)
        console.print()
        console.print(table)
    console.print("\n[bold]More, by SQL[/bold]: .venv/bin/python -m warehouse psql, then for example")
    for what, sql in MORE:
        console.print(f"  {sql};  [dim]-- {what}[/dim]", soft_wrap=True, highlight=False)
    console.print(f"\n[bold]Report[/bold], in a browser: {address}", soft_wrap=True, highlight=False)


def _results() -> list[tuple[Section, list[str], list[list[str]]]]:
    found = []
    with connect("analyst") as connection:
        for section in SECTIONS:
            cursor = connection.execute(section.sql.encode())
            header = [column.name for column in cursor.description or ()]
            found.append((section, header, [["" if v is None else str(v) for v in row] for row in cursor.fetchall()]))
    return found
