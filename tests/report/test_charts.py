"""What a picture shows of rows of different sizes."""

from datetime import date

from report import charts


def test_each_account_is_drawn_at_its_own_size() -> None:
    """A thousand dollars are seen beside a hundred thousand, and beside what another account counts in."""
    rows = [
        {"day": date(2012, 10, number), "account": account, "equity": first + number * 10.0}
        for account, first in (("large", 100_000.0), ("small", 1_000.0))
        for number in range(1, 11)
    ]
    drawn = str(charts.render(charts.account(rows), "Equity of each account by day"))
    for label in ("large", "small", "100,100", "1,100"):
        assert f">{label}</text>" in drawn
    one = str(charts.render(charts.account(rows[:10]), "Equity of each account by day"))
    assert ">small</text>" not in one


def test_an_account_of_one_day_is_drawn() -> None:
    rows = [{"day": date(2012, 10, 1), "account": "new", "equity": 1_000.0}]
    assert ">new</text>" in str(charts.render(charts.account(rows), "Equity of each account by day"))
