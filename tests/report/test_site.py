"""The report: well-formed pages without a script or an outside address, of everything that a person should see."""

import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pytest
from psycopg.rows import dict_row

from flows.summary import SECTIONS
from report import charts, queries
from report.pages import NAVIGATION
from report.reading import snapshot
from report.site import Site, documentation, write
from tests.machine import BUILT, ROOT, as_owner, running_warehouse
from tests.plans import plan_of, rows_of
from tests.report import browser, contents, reading_pages
from training.drift import drifts
from warehouse.connection import connect
from warehouse.errors import Stop

pytestmark = pytest.mark.database


@pytest.fixture(scope="module")
def warehouse(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with running_warehouse(tmp_path_factory.mktemp("report") / "state", BUILT) as state_dir:
        yield state_dir


@pytest.fixture(scope="module")
def empty(warehouse: Path) -> Site:
    """The site before anything has landed."""
    return write(warehouse / "empty")


@pytest.fixture(scope="module")
def site(empty: Site, warehouse: Path) -> Site:
    contents.write()
    return write(warehouse / "site")


def test_an_empty_warehouse_says_what_to_run(empty: Site) -> None:
    found = reading_pages.pages(empty.index)
    assert list(found) == ["index.html"]
    said = reading_pages.text(found["index.html"])
    assert "Nothing has landed yet" in said
    assert [said.index(f"python -m flows {name}") for name in ("ingest", "build", "train", "paper-trade")] == sorted(
        said.index(f"python -m flows {name}") for name in ("ingest", "build", "train", "paper-trade")
    )


def test_every_page_is_there_and_well_formed(site: Site) -> None:
    found = reading_pages.pages(site.index)
    assert site.pages == len(found) == 6 + 2 + 8
    assert {path for path, _ in NAVIGATION} <= set(found)
    assert found["index.html"].find(".//main") is not None


def test_no_page_has_a_script_or_an_address_outside(site: Site) -> None:
    for path, page in reading_pages.pages(site.index).items():
        source = (site.index.parent / path).read_text()
        assert not [element for element in page.iter() if element.tag.lower() in ("script", "iframe", "object", "link")]
        assert not [name for element in page.iter() for name in element.attrib if name.lower().startswith("on")]
        assert not re.search(r"(https?:|url\((?!#)|@import|//[a-z])", source), path


def test_the_documentation_of_columns_is_linked_when_there_is_one(site: Site, warehouse: Path) -> None:
    without = reading_pages.pages(site.index)
    assert [path for path, page in without.items() if "Every column" in reading_pages.text(page)] == []
    documentation().write_text("<html>all columns</html>")
    written_at = datetime(2026, 3, 1, 12, 30, tzinfo=UTC).timestamp()
    os.utime(documentation(), (written_at, written_at))
    try:
        root = write(warehouse / "documented").index.parent
    finally:
        documentation().unlink()
    for path in without:
        (address,) = re.findall(r'<a href="([./]*columns\.html)">', (root / path).read_text())
        assert reading_pages.target(root, path, address)[0].read_text() == "<html>all columns</html>"
        assert "as of 2026-03-01 12:30 UTC" in " ".join((root / path).read_text().split())


def test_links_lead_somewhere(site: Site) -> None:
    root = site.index.parent.resolve()
    found = reading_pages.pages(site.index)
    for path, page in found.items():
        ids = {element.get("id") for element in page.iter()}
        for address in reading_pages.references(page):
            file, fragment = reading_pages.target(root, path, address)
            assert file.resolve().is_relative_to(root), address
            assert file.is_file(), (path, address)
            assert not fragment or fragment in ids, (path, address)
    assert (
        len([address for address in reading_pages.references(found["leaderboard.html"]) if "trials/" in address]) == 8
    )


def test_what_the_database_says_is_text(site: Site) -> None:
    """A name, an explanation, a halt's reason and a vendor's error hold a script: each is shown, and none runs."""
    found = reading_pages.pages(site.index)
    shown = "<script>alert('x')</script>&\""
    for path in ("index.html", "leaderboard.html", "paper.html", "data.html", "trials/t1-1.html"):
        assert shown in reading_pages.text(found[path]), path
    evil = next(path for path in found if path.startswith("hypotheses/script"))
    assert shown in reading_pages.text(found[evil])


def test_a_long_list_of_survivors_is_said_to_be_one(site: Site) -> None:
    found = reading_pages.pages(site.index)
    table = reading_pages.text(found["leaderboard.html"])
    assert "survivors only" in table
    assert "None of its many symbols was delisted" in reading_pages.text(found["trials/t1-1.html"])
    with connect("analyst") as connection:
        hypotheses = connection.cursor(row_factory=dict_row).execute(SECTIONS[0].sql.encode()).fetchall()
    assert {row["survivors_only"] for row in hypotheses} == {"yes"}


def test_what_needs_a_person_comes_first(site: Site) -> None:
    page = reading_pages.pages(site.index)["index.html"]
    items = [reading_pages.text(item) for item in page.findall(".//section[@class='attention']//li")]
    for words in (
        "Account paper-1 is halted and sends nothing",
        "Ledger and broker of account paper-1 differ",
        "1 decision stood on other values",
        "The collector of binance 1m has died",
        "The live feed polygon 1m has failed",
        "sends nothing of IBM",
        "The newest scores of model reversal-2 are unlike those it was judged on",
        "2 trials were never judged",
        "Model reversal-1 has passed and waits",
    ):
        assert [item for item in items if words in item], words
    assert "halted" in items[0]


@pytest.mark.whole
def test_what_drifts_is_named_and_fails_its_flow(site: Site) -> None:
    """Scores and one feature are far from where they were in training; the other feature is not."""
    shown = reading_pages.text(reading_pages.pages(site.index)["paper.html"])
    (found,) = drifts()
    assert (found.is_drifting, found.bars, found.features, found.drifting_features) == (True, 60, 2, ["rsi"])
    assert "rsi" in shown
    assert "roc_5" not in shown
    done = subprocess.run(
        [sys.executable, "-m", "flows", "drift"], cwd=ROOT, capture_output=True, text=True, check=False, timeout=300
    )
    assert done.returncode == 2, done.stderr
    for words in (
        "models compared with their training: 1",
        "model reversal-2 drifts: its scores are unlike those it was judged on, over its newest 60 bars",
        "1 of its 2 features drift: rsi",
    ):
        assert words in done.stderr
    with connect("analyst") as connection:
        looks = connection.execute("select model_id, psi > limit_psi from research.drift_looks").fetchall()
    assert looks == [("reversal-2", True)]


def test_what_drifts_is_found_without_the_decisions_of_years(site: Site) -> None:
    with as_owner(past_triggers=True) as owner:
        owner.execute(
            """
            insert into ledger.shadow_decisions (
                model_id, symbol, bar_start, bar_end, is_late, feature_names, feature_values, score, target_weight
            )
            select
                'reversal-2', 'AAPL', day, day + interval '1 minute', false, array['roc_5', 'rsi'], array[0.5, 2], 2, 1
            from generate_series('2021-12-01 14:30+00'::timestamptz, '2021-12-29 14:30+00', '10 minutes') as day
            """
        )
        owner.execute("analyze ledger.shadow_decisions")
    read = [
        node for node in plan_of("table results.drift", "analyst") if node.get("Relation Name") == "shadow_decisions"
    ]
    assert read
    # 60 bars, each found in the index and read once
    assert sum(rows_of(node) for node in read) <= 2 * 60 + 1


def test_a_position_names_the_models_that_hold_it(site: Site) -> None:
    with as_owner() as owner:
        for part in (
            "insert into ledger.accounts (account_id, broker, mode) values ('shared', 'alpaca', 'paper')",
            """
            insert into ledger.decisions (decision_id, account_id, model_id, symbol, timeframe, bar_start, bar_end,
                broker_time, feature_names, feature_values, score, target_weight)
            select 'shared-' || model, 'shared', model, 'AAPL', '1d', '2020-01-01', '2020-01-02', '2020-01-02', '{}',
                '{}', 1, 1
            from unnest(array['fast', 'slow']) as model
            """,
            """
            insert into ledger.intents (client_order_id, decision_id, account_id, symbol, side, quantity, order_type,
                time_in_force, reference_price, verdict)
            select decision_id, decision_id, account_id, symbol, 'buy', 10, 'market', 'day', 10, 'approved'
            from ledger.decisions where account_id = 'shared'
            """,
            """
            insert into ledger.fills
                (account_id, execution_id, client_order_id, symbol, side, quantity, price, filled_at)
            values ('shared', 'F', 'shared-fast', 'AAPL', 'buy', 7.50, 10, '2020-01-03'),
                ('shared', 'S', 'shared-slow', 'AAPL', 'buy', 3, 10, '2020-01-03')
            """,
        ):
            owner.execute(part)
        held = [row for row in owner.execute(queries.POSITIONS) if row[0] == "shared"]
        owner.rollback()
    assert [row[1:4] for row in held] == [("AAPL", Decimal("10.5"), "7.5 of fast, 3 of slow")]


def test_what_passed_between_models_is_told(site: Site) -> None:
    with as_owner() as owner:
        for part in (
            "insert into ledger.accounts (account_id, broker, mode) values ('crossed', 'alpaca', 'paper')",
            """
            insert into ledger.decisions (decision_id, account_id, model_id, symbol, timeframe, bar_start, bar_end,
                broker_time, feature_names, feature_values, score, target_weight, price, wanted)
            select 'crossed-' || model || wanted, 'crossed', model, 'AAPL', '1d', day, day + interval '1 day',
                day + interval '1 day', '{}', '{}', 1, 1, 10, wanted
            from (values ('fast', '2020-01-01'::timestamptz, 7), ('fast', '2020-01-02', -5), ('slow', '2020-01-02', 4))
                as made (model, day, wanted)
            """,
            """
            insert into ledger.intents (client_order_id, decision_id, account_id, symbol, side, quantity, order_type,
                time_in_force, reference_price, verdict)
            values ('crossed', 'crossed-fast7', 'crossed', 'AAPL', 'buy', 7, 'market', 'day', 10, 'approved')
            """,
            """
            insert into ledger.fills
                (account_id, execution_id, client_order_id, symbol, side, quantity, price, filled_at)
            values ('crossed', 'F', 'crossed', 'AAPL', 'buy', 7, 10, '2020-01-02')
            """,
            """
            insert into ledger.crosses
                (account_id, symbol, seller_decision_id, buyer_decision_id, quantity, price, broker_time)
            values ('crossed', 'AAPL', 'crossed-fast-5', 'crossed-slow4', 4, 10, '2020-01-03')
            """,
        ):
            owner.execute(part)
        passed = [row[2:6] + row[7:] for row in owner.execute(queries.CROSSES) if row[1] == "crossed"]
        owner.rollback()
    assert passed == [("AAPL", "fast", "slow", "1d", Decimal(4), Decimal(10), Decimal(40))]


def test_what_was_never_computed_is_stale_from_its_beginning(site: Site) -> None:
    """Resembles psycopg#1251: no datetime of Python's holds -infinity."""
    with as_owner() as owner:
        owner.execute(
            "insert into canonical.live_failures (model, symbol, reason)"
            " values ('ohlcv_4h', 'GOOG', 'numeric overflow')"
        )
        found = [row for row in owner.execute(queries.FRESHNESS) if row[:2] == ("4h", "GOOG")]
        owner.rollback()
    assert [row[3:] for row in found] == [("its beginning", "ohlcv_4h cannot be computed: numeric overflow")]


def test_a_trial_says_why(site: Site) -> None:
    found = reading_pages.pages(site.index)
    said = {number: reading_pages.text(found[f"trials/t1-{number}.html"]) for number in range(1, 5)}
    assert "It passed all 1 checks of the gate at look 1." in said[1]
    assert "It became the model reversal-1, which is in state candidate." in said[1]
    assert "It failed 1 of 1 checks: net_sharpe." in said[2]
    assert "About 2.5 more years of record would decide." in said[3]
    assert "The gate has not looked at this trial yet." in said[4]
    assert "would take 23.0 % of equity" in said[1]
    assert "1.5 years of its mean earnings" in said[1]
    assert ">= 0.5" in said[2]


def test_a_page_says_what_is_in_the_shadow_and_when_it_is_judged(site: Site) -> None:
    page = reading_pages.pages(site.index)["shadow.html"]
    models, held, _ = (
        [[reading_pages.text(cell) for cell in row.findall("td")] for row in table.findall("./tbody/tr")]
        for table in page.findall(".//table")
    )
    # 77 days of decisions; a look at 100 of them is due two days later
    assert [row[:7] for row in models] == [["reversal-2", "shadow", "77", "100", "25", "77", "0"]]
    assert [row[:3] + row[4:5] for row in held] == [["reversal-2", "AAPL", "100.0 %", "2022-03-20 14:30"]]
    said = reading_pages.text(page)
    assert "No model of daily bars has decided in the shadow and seen the two opens after it yet." in said


def test_scores_stand_beside_what_came_and_what_moves_them(site: Site) -> None:
    """Scores follow the returns here: the lowest tenth fell, and the highest rose."""
    found = reading_pages.pages(site.index)
    with snapshot() as moment:
        tenths = moment.table(queries.CALIBRATION, trials=["t1-2"]).rows
        features = moment.table(queries.MODEL_FEATURES, trials=["t1-2"]).rows
    assert sum(row["decisions"] for row in tenths) == 2 * 729
    assert tenths[0]["predicted_up"] < 0.45
    assert (tenths[0]["share_up"], tenths[-1]["share_up"]) == (0, 1)
    assert tenths[-1]["mean_return"] == pytest.approx(0.001, rel=0.05)
    assert [(row["feature"], row["share_of_all"]) for row in features] == [
        ("rsi", pytest.approx(0.75)),
        ("roc_5", pytest.approx(0.25)),
    ]
    assert "75.0 %" in reading_pages.text(found["trials/t1-2.html"])
    assert "Only what became a model has a fit of its own" in reading_pages.text(found["trials/t1-3.html"])


def test_figures_are_those_of_the_views(site: Site) -> None:
    """The last point of the curve is the sheet's total return, and so is the product of the months."""
    with snapshot() as moment:
        curve = moment.table(queries.CURVE, trials=["t1-2"]).rows
        months = moment.table(queries.MONTHS, trials=["t1-2"]).rows
        folds = moment.table(queries.FOLDS, trials=["t1-2"]).rows
        sheets = moment.table(queries.TRIAL_SHEETS, hypotheses=["reversal"]).rows
    sheet = next(row for row in sheets if row["trial_id"] == "t1-2")
    assert curve[-1]["wealth"] - 1 == pytest.approx(sheet["total_return"])
    assert max(row["drawdown"] for row in curve) == pytest.approx(sheet["drawdown"])
    assert curve[-1]["buy_and_hold"] - 1 == pytest.approx(sheet["benchmark_total_return"])
    for parts in (months, folds):
        product = 1.0
        for row in parts:
            product *= 1 + row["net_return"]
        assert product - 1 == pytest.approx(sheet["total_return"])
    assert [row["fold"] for row in folds] == [1, 2]
    assert curve[0]["sharpe_of_a_year"] is None
    # two years of 729 days in steps of five: mean over deviation of the 73 steps of the last year
    assert curve[-1]["sharpe_of_a_year"] == pytest.approx(_sharpe([row["wealth"] for row in curve][-74:]), rel=0.02)


def _sharpe(wealth: list[float]) -> float:
    import numpy

    earned = numpy.diff(numpy.log(wealth))
    return float(earned.mean() / earned.std(ddof=1) * numpy.sqrt(len(earned)))


def test_the_sql_beside_a_table_yields_it(site: Site) -> None:
    """A person copies it from the page: it runs as it stands, and yields as many rows."""
    page = reading_pages.pages(site.index)["trials/t1-2.html"]
    statements = [reading_pages.text(code).rstrip(";") for code in page.findall(".//pre/code")]
    tables = [table for table in page.findall(".//table") if table.get("class") != "months"]
    assert len(statements) == len(tables) == 7
    with snapshot() as moment:
        for statement, table in list(zip(statements, tables, strict=True))[:6]:
            assert "t1-2" in statement
            assert len(moment.table(statement).rows) == len(table.findall("./tbody/tr"))


def test_charts_and_tables_have_words(site: Site) -> None:
    """For who does not see them, or has no mouse: a name for each picture, table and area that scrolls."""
    drawn = 0
    for path, page in reading_pages.pages(site.index).items():
        assert page.get("lang") == "en"
        assert len(page.findall(".//h1")) == 1
        for svg in page.iter("svg"):
            assert svg.get("role") == "img"
            assert len(svg.get("aria-label") or "") > 10, path
            drawn += 1
        for table in page.iter("table"):
            assert table.find("caption") is not None
            assert all(head.get("scope") in ("col", "row") for head in table.iter("th"))
        for region in page.findall(".//*[@role='region']"):
            assert region.get("tabindex") == "0"
            assert region.get("aria-label")
        ids = [element.get("id") for element in page.iter() if element.get("id")]
        assert len(ids) == len(set(ids)), f"{path} has two parts of one name"
    assert drawn > 20


def test_colours_follow_the_page(site: Site) -> None:
    """No chart has a colour of its own: each is a variable that the style sets for light and dark."""
    style = (site.index.parent / "index.html").read_text().partition("</style>")[0]
    for name in charts.VARIABLES.values():
        assert style.count(f"--{name}:") == 2
    for page in reading_pages.pages(site.index).values():
        for svg in page.iter("svg"):
            own = {
                value
                for element in svg.iter()
                for key, value in element.attrib.items()
                if key in ("fill", "stroke") and not value.startswith(("var(", "none", "transparent", "url(#"))
            }
            assert own <= {"black", "#000"}, own


@pytest.mark.whole
def test_a_reader_never_meets_half_a_site(site: Site, warehouse: Path) -> None:
    """While the site is written again and again, each look finds a whole start page and the page that it links to."""
    is_over = threading.Event()
    broken: list[str] = []
    looks = 0

    def read() -> None:
        nonlocal looks
        while not is_over.is_set():
            try:
                folder = (warehouse / "site").resolve()
                assert (folder / "index.html").read_text().rstrip().endswith("</html>")
                assert (folder / "trials" / "t1-1.html").read_text().rstrip().endswith("</html>")
            except (OSError, AssertionError) as error:
                broken.append(repr(error))
            looks += 1

    reader = threading.Thread(target=read)
    reader.start()
    try:
        for _ in range(2):
            write(warehouse / "site")
    finally:
        is_over.set()
        reader.join()
    assert looks > 10
    assert broken == []
    assert len(list((warehouse / "site.versions").glob("site-*"))) == 2, "the one before it stays, and no older one"


def test_a_failed_write_leaves_the_site_as_it_was(site: Site, warehouse: Path) -> None:
    before = (warehouse / "site").resolve()
    with as_owner() as connection:
        connection.execute("alter table results.parity rename column verdict to said")
    try:
        with pytest.raises(Exception, match="verdict"):
            write(warehouse / "site")
    finally:
        with as_owner() as connection:
            connection.execute("alter table results.parity rename column said to verdict")
    assert (warehouse / "site").resolve() == before
    assert (before / "index.html").exists()
    kept = set((warehouse / "site.versions").glob("site-*"))
    assert all((folder / "parity.html").exists() for folder in kept), "nothing is left of what failed"
    write(warehouse / "site")
    assert before in set((warehouse / "site.versions").glob("site-*")), "somebody may be reading the one before it"


def test_somebody_elses_folder_is_left_alone(site: Site, tmp_path: Path, monkeypatch) -> None:
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious" / "file").write_text("mine")
    with pytest.raises(Stop, match="no report of ours"):
        write(tmp_path / "precious")
    assert (tmp_path / "precious" / "file").read_text() == "mine"
    monkeypatch.chdir(tmp_path)
    for name, said in ((".", "no report of ours"), ("precious/..", "no report of ours"), ("/", "cannot be a report")):
        with pytest.raises(Stop, match=said):
            write(Path(name))


@pytest.mark.long
def test_a_trial_that_lost_everything_is_a_page_beside_the_others(tmp_path: Path) -> None:
    """Twice on each day: its wealth is less than a float holds, and its day's return is -1 to the last bit."""
    with running_warehouse(tmp_path / "state", BUILT) as state_dir:
        contents.write()
        with as_owner(past_triggers=True) as connection:
            connection.execute(
                """
                insert into research.trials (trial_id, run_id, hypothesis_id, family_id, trial_no, parameters, left_out)
                values ('ruin', 'r1', 'h1', 'f', 9, '{}', '{}')
                """
            )
            connection.execute(
                """
                insert into research.trial_returns (
                    trial_id, symbol, bar_start, fold, score, position, trade, asset_return, benchmark_return, cost,
                    interest, net_return
                )
                select 'ruin', 'AAPL', bar_start, 1, mod(extract(doy from bar_start), 7), 1, 0, -1, -1, 0, 0, -1
                from generate_series('2020-01-02 14:30+00'::timestamptz, '2020-06-30', '12 hours') as bar_start
                """
            )
        site = write(state_dir / "site")
    found = reading_pages.pages(site.index)
    assert {"trials/ruin.html", "trials/t1-1.html"} <= set(found)
    assert "-100.0" in reading_pages.text(found["trials/ruin.html"])


@pytest.mark.whole
@pytest.mark.skipif(browser.CHROMIUM is None and not os.environ.get("CI"), reason="needs Debian's chromium")
def test_a_browser_opens_every_page_and_axe_finds_nothing(site: Site, tmp_path: Path) -> None:
    """Chromium loads each page from disk, logs no error and sees the whole of it; axe finds no grave fault.

    Neither in light nor in dark. A page with two faults in it shows that axe looks.
    """
    root = site.index.parent.resolve()
    pages = {path: root / path for path in reading_pages.pages(site.index)}
    faulty = pages["index.html"].read_text().replace("<h1>", '<img src=""/><p style="color: var(--grid)">Faint</p><h1>')
    # pages of trials are alike: one of a model, and one that nobody has judged
    examined = [path for path in pages if "trials/" not in path or path in ("trials/t1-2.html", "trials/t1-4.html")]
    opened = browser.open_pages(pages, examined, tmp_path, {"planted": faulty})
    assert set(opened.footers) == set(pages)
    assert all("in one moment" in footer for footer in opened.footers.values()), opened.footers
    assert "CONSOLE" not in opened.log, opened.log
    assert min(opened.passed[f"{path}, light"] for path in examined) > 10
    assert min(opened.passed[f"{path}, dark"] for path in examined) > 0
    found = opened.grave()
    assert {(one.page, one.rule) for one in found if one.page.startswith("planted")} == {
        ("planted, light", "image-alt"),
        ("planted, light", "color-contrast"),
        ("planted, dark", "color-contrast"),
    }
    assert [one for one in found if not one.page.startswith("planted")] == []
