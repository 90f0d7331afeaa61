"""What a picture shows of rows of different sizes."""

from collections.abc import Callable, Iterator
from datetime import date

import psutil
import pytest

from report import charts, model_charts
from report.drawing import Drawing, drawing
from report.month_grid import month_grid


@pytest.fixture(scope="module")
def processes() -> Iterator[Drawing]:
    with drawing() as one:
        yield one


@pytest.fixture
def drawn(processes: Drawing) -> Callable[[charts.Spec, str], str]:
    return lambda spec, alt: str(charts.render(charts.Chart(spec, alt), processes))


def test_each_account_is_drawn_at_its_own_size(drawn) -> None:
    """A thousand dollars are seen beside a hundred thousand, and beside what another account counts in."""
    rows = [
        {"day": date(2012, 10, number), "account": account, "equity": first + number * 10.0}
        for account, first in (("large", 100_000.0), ("small", 1_000.0))
        for number in range(1, 11)
    ]
    picture = drawn(charts.account(rows), "Equity of each account by day")
    for label in ("large", "small", "100,100", "1,100"):
        assert f">{label}</text>" in picture
    one = drawn(charts.account(rows[:10]), "Equity of each account by day")
    assert ">small</text>" not in one


def test_an_account_of_one_day_is_drawn(drawn) -> None:
    rows = [{"day": date(2012, 10, 1), "account": "new", "equity": 1_000.0}]
    assert ">new</text>" in drawn(charts.account(rows), "Equity of each account by day")


def test_what_a_model_made_is_drawn_in_its_band(drawn) -> None:
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
    picture = drawn(model_charts.expected(rows), "What each model made")
    for label in ("one", "another", "made", "expected"):
        assert f">{label}</text>" in picture


@pytest.mark.parametrize("is_binary", [True, False])
def test_tenths_of_a_score_are_drawn(drawn, is_binary: bool) -> None:
    rows = [
        {"tenth": tenth, "predicted_up": 0.4 + tenth / 50 if is_binary else None, "share_up": 0.5, "mean_return": 0.001}
        for tenth in range(1, 11)
    ]
    picture = drawn(model_charts.calibration(rows), "What came by tenths of the score")
    assert ">mean return</text>" in picture
    assert (">share that rose</text>" in picture) == is_binary


def test_months_are_a_table_that_can_be_read() -> None:
    rows = [
        {"month": date(2020, 11, 1), "net_return": -0.02},
        {"month": date(2021, 1, 1), "net_return": 0.041},
        {"month": date(2021, 2, 1), "net_return": 0.0},
    ]
    drawn = str(month_grid(rows, "Returns of <one> by year and month"))
    first, second = drawn.split("<tbody>")[1].split("</tr>")[:2]
    # a year begins with the month that it begins with
    assert first.startswith('<tr><th scope="row">2020</th>' + "<td></td>" * 10)
    assert '<td class="number loss" style="--tint: 15%">-2.0\u202f%</td><td></td>' in first
    assert '<td class="number gain" style="--tint: 30%">4.1\u202f%</td>' in second
    assert '<td class="number gain" style="--tint: 0%">0.0\u202f%</td>' in second
    assert "<one>" not in drawn
    assert "&lt;one&gt;" in drawn
    assert month_grid([], "Returns") is None


def test_a_chart_that_cannot_be_drawn_says_so_and_the_next_is_drawn(drawn) -> None:
    with pytest.raises(ValueError, match="a chart cannot be drawn: Vega-Lite to SVG conversion failed"):
        drawn({"mark": "nothing of the kind"}, "Nothing")
    test_an_account_of_one_day_is_drawn(drawn)


def test_a_process_that_draws_and_is_killed_is_replaced(drawn) -> None:
    test_an_account_of_one_day_is_drawn(drawn)
    (process,) = (child for child in psutil.Process().children() if child.cmdline()[1:] == ["-m", "report.drawing"])
    process.kill()
    with pytest.raises(RuntimeError, match="the process that draws charts has ended with -9"):
        test_an_account_of_one_day_is_drawn(drawn)
    test_an_account_of_one_day_is_drawn(drawn)
