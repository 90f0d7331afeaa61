"""The market of the demo: what a demo of before left there is completed, and its account goes on."""

import json
import urllib.request
from pathlib import Path

import pytest

from flows.demo import KEYS, _sandbox
from sandbox.tape import demo as demo_tape

pytestmark = pytest.mark.long


def test_a_tape_from_before_there_were_coins_is_made_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRUEBAR_STATE_DIR", str(tmp_path / "state"))
    (tmp_path / "state").mkdir()
    demo_tape.write(tmp_path / "tape")
    stocks = (tmp_path / "tape" / "bars.parquet").read_bytes()
    (tmp_path / "tape" / "coins.parquet").unlink()
    with _sandbox(tmp_path) as url:
        with urllib.request.urlopen(f"{url}/binance/api/v3/exchangeInfo", timeout=10) as answer:
            assert [listed["symbol"] for listed in json.load(answer)["symbols"]] == ["SYNTHUSDT"]
        account = urllib.request.Request(f"{url}/v2/account")
        account.add_header("APCA-API-KEY-ID", KEYS["SANDBOX_ALPACA_KEY_ID"])
        account.add_header("APCA-API-SECRET-KEY", KEYS["SANDBOX_ALPACA_SECRET"])
        with urllib.request.urlopen(account, timeout=10) as answer:
            assert json.load(answer)["cash"] == "100000"
    assert (tmp_path / "tape" / "bars.parquet").read_bytes() == stocks
