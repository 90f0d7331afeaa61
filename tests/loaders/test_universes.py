"""Dated memberships become lines of the seed, or one sentence says why not."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from loaders.seeds.universes import SEED, bring_in
from warehouse.errors import Stop

INDEX = """\
symbol,name,opt-in,opt-out
AA,Alcoa,1976-07-01,2016-11-01
AA,Alcoa again,2020-01-02 00:00:00,
ZTS,Zoetis,2013-06-21,
"""


@pytest.fixture(autouse=True)
def _state_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRUEBAR_STATE_DIR", str(tmp_path / "state"))


def test_an_index_becomes_lines_of_the_seed(tmp_path: Path) -> None:
    file, seed = tmp_path / "sp500.csv", tmp_path / "universes.csv"
    file.write_text(INDEX)
    seed.write_text("universe,symbol,valid_from,valid_to\nsp500,OLD,,\nzoo,LION,2001-01-01,\n")
    for _ in range(2):
        assert bring_in("sp500", file, seed) == 3
        assert seed.read_text().splitlines() == [
            "universe,symbol,valid_from,valid_to",
            "sp500,AA,1976-07-01,2016-11-01",
            "sp500,AA,2020-01-02,",
            "sp500,ZTS,2013-06-21,",
            "zoo,LION,2001-01-01,",
        ]
    assert SEED.read_text().startswith("universe,symbol,valid_from,valid_to\n"), "the seed has these columns"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("symbol,since\nA,2000-01-01\n", "has no columns symbol, opt-in and opt-out, but symbol, since"),
        ("symbol,opt-in,opt-out\n", "has no line"),
        ("symbol,opt-in,opt-out\nA,1.2.2000,\n", "line 2: '1.2.2000' is no date like 2024-01-31"),
        ("symbol,opt-in,opt-out\nA,2000-01-02,2000-01-01\n", "line 2: A leaves on 2000-01-01, which is not after"),
        ("symbol,opt-in,opt-out\nA,2000-01-02,\nA,2001-01-01,\n", "has A twice at one time: from 2001-01-01 on"),
        ("symbol,opt-in,opt-out\nA,2000-01-01garbage,\n", "line 2: '2000-01-01garbage' is no date"),
        ("symbol,opt-in,opt-out\n ,2000-01-01,\n", "line 2: symbol is empty"),
        ("symbol,opt-in,opt-out\nA,2000-01-01\n", "line 2 has not as many fields as the first line"),
        ("symbol,opt-in,opt-out\nA,2000-01-01,,\n", "line 2 has not as many fields as the first line"),
    ],
)
def test_what_cannot_be_is_said_and_changes_nothing(tmp_path: Path, text: str, words: str) -> None:
    file, seed = tmp_path / "x.csv", tmp_path / "universes.csv"
    file.write_text(text)
    seed.write_text("untouched")
    with pytest.raises(Stop, match=words):
        bring_in("sp500", file, seed)
    assert seed.read_text() == "untouched"
    with pytest.raises(Stop, match="cannot be read"):
        bring_in("sp500", tmp_path / "nowhere.csv", seed)


def test_two_at_once_both_stay(tmp_path: Path) -> None:
    seed = tmp_path / "universes.csv"
    seed.write_text("universe,symbol,valid_from,valid_to\n")
    names = [f"index{number:02}" for number in range(20)]
    for name in names:
        (tmp_path / f"{name}.csv").write_text(f"symbol,opt-in,opt-out\n{name},,\n")
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(lambda name: bring_in(name, tmp_path / f"{name}.csv", seed), names)) == [1] * 20
    assert [line.split(",")[0] for line in seed.read_text().splitlines()[1:]] == names


def test_a_spreadsheets_mark_is_no_column(tmp_path: Path) -> None:
    file, seed = tmp_path / "x.csv", tmp_path / "universes.csv"
    for path, text in ((file, "symbol,opt-in,opt-out\r\nA,,\r\n"), (seed, "universe,symbol,valid_from,valid_to\n")):
        path.write_text(text, encoding="utf-8-sig")
    assert bring_in("sp500", file, seed) == 1
    file.write_bytes("symbol,opt-in,opt-out\nÄ,,\n".encode("latin-1"))
    with pytest.raises(Stop, match="is not written in UTF-8"):
        bring_in("sp500", file, seed)
    seed.write_text("universe;symbol;valid_from;valid_to\n")
    file.write_text("symbol,opt-in,opt-out\nA,,\n")
    with pytest.raises(Stop, match="has other columns than universe, symbol, valid_from, valid_to"):
        bring_in("sp500", file, seed)
