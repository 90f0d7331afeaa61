"""What a picture shows of rows of different sizes."""

from datetime import date

import pytest

from report import charts, model_charts


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


def test_what_a_model_made_is_drawn_in_its_band() -> None:
    rows = [
        {
            "model": model,
            "day": date(2026, 3, number),
            "realised": -0.01 * number,
            "expected": 0.001 * number,
            "band_low": -0.004 * number,
            "band_high": 0.006 * number,
        }
        for model in ("one", "another")
        for number in range(1, 11)
    ]
    drawn = str(charts.render(model_charts.expected(rows), "What each model made"))
    for label in ("one", "another", "made", "expected"):
        assert f">{label}</text>" in drawn


@pytest.mark.parametrize("is_binary", [True, False])
def test_tenths_of_a_score_are_drawn(is_binary: bool) -> None:
    rows = [
        {"tenth": tenth, "predicted_up": 0.4 + tenth / 50 if is_binary else None, "share_up": 0.5, "mean_return": 0.001}
        for tenth in range(1, 11)
    ]
    drawn = str(charts.render(model_charts.calibration(rows), "What came by tenths of the score"))
    assert ">mean return</text>" in drawn
    assert (">share that rose</text>" in drawn) == is_binary
