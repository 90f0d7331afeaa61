"""The pages of trading: what models decide on paper, and what they decide in the shadow."""

from itertools import groupby

from report import charts, model_charts, queries, words
from report.blocks import Block, Page, chart
from report.reading import Snapshot, Table


def paper_page(snapshot: Snapshot, accounts: Table, equity: Table, expected: Table) -> Page:
    """What is held, what was sent and what it earned."""
    slipped = snapshot.table(queries.SLIPPAGE)
    return Page(
        "paper.html",
        "blocks.html",
        "Paper trading",
        {
            "lead": "What models in state paper decided, sent and earned.",
            "blocks": [
                Block(
                    "Accounts",
                    accounts,
                    empty="No account has traded yet: `python -m flows paper-trade`.",
                    is_open=True,
                ),
                account_block(equity),
                Block("Positions", snapshot.table(queries.POSITIONS), empty="Nothing is held.", is_open=True),
                Block(
                    "Profit and loss, by model and symbol",
                    snapshot.table(queries.PAPER_RECORD),
                    note="The symbol's own return is since the first decision, dividends included.",
                    empty="No order was sent yet.",
                    is_open=True,
                ),
                Block(
                    "Paper against backtest",
                    snapshot.table(queries.PAPER_VS_BACKTEST),
                    note="What orders of daily bars made over the bar after their decision, and what the backtest "
                    "makes of the same decisions. The difference has four parts: the price, fills in another bar, what "
                    "was refused, and costs.",
                    empty="No order of a daily bar was decided yet.",
                    is_open=True,
                ),
                _expected_block(
                    expected,
                    "No model of daily bars has decided on paper and seen the two opens after it yet.",
                ),
                Block(
                    "Slippage",
                    slipped,
                    chart(charts.slippage, slipped.rows, "Slippage of each order in basis points, by day"),
                    "Fill against the next bar's open; positive is a cost. The newest 500 orders of daily bars.",
                    "No order of a daily bar was filled yet.",
                ),
                Block(
                    "Drift",
                    snapshot.table(queries.DRIFT),
                    note="How far the scores of each model, and features that drift, are from what it was trained on: "
                    "population stability indexes of its newest bars, beside the largest of as many bars in training.",
                    empty="No model decides yet.",
                    is_open=True,
                ),
                Block("Orders", snapshot.table(queries.ORDERS), note="The newest 200.", empty="No order was sent yet."),
                Block(
                    "Passed between models",
                    snapshot.table(queries.CROSSES),
                    note="What one model wanted to sell and another to buy at the same bar, at its close, without an "
                    "order. The newest 200.",
                    empty="Nothing has passed from one model's share to another one's.",
                ),
                Block(
                    "Halts and releases",
                    snapshot.table(queries.HALTS),
                    note="The newest 50 acts. docs/runbook.md says what each means.",
                    empty="No account was ever halted.",
                    is_open=True,
                ),
                Block(
                    "Bars that were not decided",
                    snapshot.table(queries.REFUSALS),
                    note="The newest 50, with the reason.",
                    empty="No bar was refused.",
                ),
                Block(
                    "Reconciliations",
                    snapshot.table(queries.RECONCILIATIONS),
                    note="The newest 50 comparisons of ledger and broker.",
                    empty="Ledger and broker were never compared.",
                ),
            ],
        },
    )


def shadow_page(snapshot: Snapshot) -> Page:
    """What models in the shadow decide, what they would hold, and when they are judged."""
    models = snapshot.table(queries.SHADOW)
    return Page(
        "shadow.html",
        "blocks.html",
        "Shadow",
        {
            "lead": "Models whose record is too short to judge. They decide every new bar, and nothing is ordered.",
            "blocks": [
                Block(
                    "Models and their next look",
                    models,
                    note="A look is due two days in time after the days that it judges. Late decisions are "
                    "no evidence. Luck allowed is what the newest look might spend.",
                    empty="No model is in the shadow: `python -m training shadow` puts one there.",
                    is_open=True,
                ),
                Block(
                    "What they would hold",
                    snapshot.table(queries.SHADOW_POSITIONS),
                    note="The newest weight that was decided in time, a fraction of equity, before exits.",
                    empty="Nothing was decided in time yet.",
                    is_open=True,
                ),
                _expected_block(
                    snapshot.table(queries.EXPECTED, states=["shadow"]),
                    "No model of daily bars has decided in the shadow and seen the two opens after it yet.",
                ),
                Block(
                    "Decisions",
                    snapshot.table(queries.SHADOW_DECISIONS),
                    note="The newest 200.",
                    empty="Nothing was decided yet: `python -m execution shadow`.",
                ),
            ],
        },
    )


def account_block(equity: Table) -> Block:
    """Equity of each account by day, and in words from where to where."""
    ends = [
        f"{account}: from {words.cell('equity', rows[0]['equity'])} on {rows[0]['day']} "
        f"to {words.cell('equity', rows[-1]['equity'])} on {rows[-1]['day']}."
        for account, grouped in groupby(equity.rows, key=lambda row: row["account"])
        if (rows := list(grouped))
    ]
    return Block(
        "Equity of the accounts",
        equity,
        chart(charts.account, equity.rows, "Equity of each account by day"),
        " ".join(ends),
        "No account has traded yet: `python -m flows paper-trade`.",
    )


def _expected_block(expected: Table, empty: str) -> Block:
    return Block(
        "Made, and expected",
        expected,
        chart(
            model_charts.expected,
            expected.rows,
            "What each model's decisions made, in the band that its record lets one expect",
        ),
        "What the decisions made at the next opens, less the charges of the backtest; what was not decided in time is "
        "held. Interest on cash is in neither. The band holds 95 of 100 records whose days are drawn as the backtest's "
        "were.",
        empty,
    )
