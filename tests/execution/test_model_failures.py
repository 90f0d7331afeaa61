"""One model's failure is its own: the other models, and its own other symbols, are decided all the same."""

from dataclasses import dataclass

import pandas as pd
import pyarrow
import pytest

from execution.session import Session
from flows.attention import NeedsAttention
from flows.paper_trade import decide
from tests.execution.world import KEY, SECRET, SignalPackage, rows, trading_days

pytestmark = pytest.mark.database

DAYS = trading_days()


@dataclass(frozen=True)
class Odd(SignalPackage):
    """A model whose code does something odd on rows with this signal."""

    how: str = "raises"

    def target_weights(self, features: pyarrow.Table) -> pd.DataFrame:
        answer = super().target_weights(features)
        is_odd = features.to_pandas()["signal"] == 0.25
        if not is_odd.any():
            return answer
        if self.how == "raises":
            raise ZeroDivisionError("division by zero")
        if self.how == "stops":
            raise SystemError("the library is gone")
        if self.how == "other rows":
            return answer.iloc[::-1].assign(symbol="GAMMA")
        if self.how == "too few":
            return answer[~is_odd]
        if self.how == "no weight":
            return answer.drop(columns="weight")
        if self.how == "nothing":
            return None
        value = {"nan": float("nan"), "inf": float("inf"), "none": None, "text": "much"}[self.how.split()[-1]]
        column = self.how.split()[0]
        answer[column] = answer[column].astype(object)
        answer.loc[is_odd, column] = value
        return answer


HOW = ["raises", "stops", "other rows", "too few", "no weight", "nothing"]
HOW += [f"{column} {value}" for column in ("score", "weight") for value in ("nan", "inf", "none", "text")]


@pytest.mark.parametrize("how", HOW)
def test_a_row_that_fails_is_refused_and_the_others_trade(exchange, warehouse, package, how):
    warehouse.publish(DAYS[0], {"ALPHA": 0.25, "BETA": 0.5})
    odd = Odd(how=how)
    with Session.open([odd], exchange.broker()) as session:
        step = session.decide()
        assert [order.symbol for order in step.sent] == ["BETA"]
        assert [bar.symbol for bar in step.refused] == ["ALPHA"]
        assert step.refused[0].reasons[0].startswith("Model: ")
        assert len(step.failures) == 1
        kept = rows("select reasons[1] from ledger.refusals where account_id = %s", session.account_id)
        assert kept == [(step.refused[0].reasons[0],)]
        # the bar was not used up: the model is mended the same evening
        again = SignalPackage()
        session._packages = (again,)
        assert [order.symbol for order in session.decide().sent] == ["ALPHA"]


def test_a_model_that_fails_stops_no_other_and_is_told_aloud(exchange, warehouse, monkeypatch):
    for name, value in (("KEY_ID", KEY), ("SECRET_KEY", SECRET)):
        monkeypatch.setenv(f"APCA_API_{name}", value)
    monkeypatch.setenv("APCA_API_BASE_URL", exchange.url)
    monkeypatch.setenv("APCA_API_STREAM_URL", exchange.stream_url)
    warehouse.publish(DAYS[0], {"ALPHA": 0.25, "BETA": 0.5})
    pair = [Odd(model_id="odd-1", symbols=("ALPHA",)), SignalPackage(model_id="sound-1", symbols=("BETA",))]
    for each in pair:
        warehouse.enter_state(each.model_id, "paper")
    with pytest.raises(NeedsAttention, match="model odd-1 failed on ALPHA: ZeroDivisionError: division by zero"):
        decide.fn(pair, "alpaca")
    assert [order["symbol"] for order in exchange.book()["orders"]] == ["BETA"]
