"""Who made less than a record lets one expect is told, by the last day of each model."""

from datetime import UTC, datetime

from report.concerns import Health, concerns
from report.reading import Table

NONE = Table((), (), "")


def test_a_model_below_its_band_is_told() -> None:
    def row(model: str, days: int, realised: float) -> dict[str, object]:
        return {"model": model, "counted_days": days, "realised": realised, "band_low": -0.05}

    rows = (
        row("good", 21, -0.2),
        row("good", 22, 0.01),
        row("bad", 21, 0.01),
        row("bad", 22, -0.08),
        row("new", 19, -0.2),
    )
    found = concerns(
        Health(
            leaderboard=NONE,
            accounts=NONE,
            feeds=NONE,
            freshness=NONE,
            gaps=NONE,
            suspected_actions=NONE,
            parity=NONE,
            drift=NONE,
            expected=Table((), rows, ""),
        ),
        datetime(2026, 3, 1, tzinfo=UTC),
    )
    assert [one.text for one in found] == [
        "The decisions of model bad have made -8.0\u202f% in 22 days; its record lets one expect -5.0\u202f% at least."
    ]
    assert found[0].command == 'python -m models_registry retire bad --reason "…"'
