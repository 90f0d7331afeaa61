"""A hypothesis file is refused in one sentence: file, line, key, what is allowed."""

import json
from pathlib import Path

import pytest

from tests.training import worlds
from training import hypothesis
from training.__main__ import main
from training.hypothesis import HypothesisError, load

EXPERIMENTS = Path(__file__).parents[2] / "experiments"

GOOD = """\
experiment_id: good_one
description: Something is believed.
symbols: [MSFT, AAPL]
timeframe: 1d
model_type: xgboost
feature_groups: [volume]
target:
  kind: binary
position_sizing:
  policy: long_flat
costs: {bps_per_side: 2}
training:
  start: 2000-01-01
  grid:
    max_depth: [2, 3]
    learning_rate: [0.05, 0.1]
"""


def write(folder: Path, text: str) -> Path:
    path = folder / "h.yaml"
    path.write_text(text)
    return path


def refusal(folder: Path, text: str) -> str:
    path = write(folder, text)
    with pytest.raises(HypothesisError) as refused:
        load(path)
    sentence = str(refused.value)
    assert sentence.startswith(str(path))
    assert "\n" not in sentence
    return sentence.removeprefix(str(path))


def test_a_good_file(tmp_path: Path) -> None:
    loaded = load(write(tmp_path, GOOD))
    assert loaded.symbols == ("AAPL", "MSFT")
    choices = [variant.training.xgboost for _, variant in loaded.trials]
    assert [(choice.max_depth, choice.learning_rate) for choice in choices] == [
        (2, 0.05),
        (2, 0.1),
        (3, 0.05),
        (3, 0.1),
    ]


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ("symbols: [MSFT, AAPL]\n", "", ", line 1: symbols or universe says what is traded: name one of them"),
        ("symbols: [MSFT, AAPL]", "symbols: [MSFT]\nuniverse: sp500", ", line 1: symbols or universe says what"),
        (
            "symbols: [MSFT, AAPL]",
            "universe: sp500",
            ", line 1: a universe has other members at other times, and long_",
        ),
        (
            "target:",
            "targets:",
            ", line 7: unknown key 'targets': allowed here are experiment_id, description, symbols",
        ),
        (
            "  kind: binary",
            "  kid: binary",
            ", line 8: unknown key 'target.kid': allowed here are kind, horizon, threshold",
        ),
        (
            "  kind: binary",
            "  kind: ternary",
            ", line 8: target.kind is 'ternary': allowed are binary, multiclass, regr",
        ),
        ("timeframe: 1d", "timeframe: 2h", ", line 4: timeframe is '2h': allowed are 1m, 5m, 15m, 1h, 4h, 1d"),
        ("[volume]", "[volume, moon]", ", line 6: feature_groups.1 is 'moon': allowed are momentum, trend"),
        ("symbols: [MSFT, AAPL]", "symbols: [AAPL, [on]]", ", line 3: symbols.1"),
        ("symbols: [MSFT, AAPL]", "symbols: [AAPL, 'A B']", ", line 3: symbols.1"),
        ("symbols: [MSFT, AAPL]", "symbols: [AAPL, AAPL]", ", line 3: symbols: a name is listed twice"),
        ("costs: {bps_per_side: 2}\n", "", ", line 1: key 'costs' is missing"),
        ("bps_per_side: 2", "bps_per_side: -1", ", line 11: costs.bps_per_side is -1: input should be greater"),
        ("max_depth: [2, 3]", "max_deep: [2, 3]", ", line 15: training.grid: 'max_deep' cannot be varied: allowed"),
        ("max_depth: [2, 3]", "max_depth: [2, 99]", ", line 15: training.grid: max_depth: 99: input should be less"),
        ("  start: 2000-01-01", "  start: 2000-13-01", ": this is not YAML: month must be in 1..12"),
        ("  start: 2000-01-01", "  start: soon", ", line 13: training.start is 'soon': input should be a valid date"),
        ("timeframe: 1d", "timeframe: 1d\ntimeframe: 1d", ", line 5: key 'timeframe' is already on line 4: keep one"),
        ("timeframe: 1d", "timeframe: [1d", ", line 5: this is not YAML"),
        ("costs:", "gate: {net_sharpe: 0.1}\ncosts:", ", line 11: gate: gate.net_sharpe may only be tightened"),
        ("costs:", "gate: {luck: 1}\ncosts:", ", line 11: gate: gate.luck is not a threshold"),
        ("  kind: binary", "  kind: multiclass", ", line 7: target: a multiclass target needs a threshold > 0"),
        (
            "  kind: binary",
            "  kind: binary\n  horizon: true",
            ", line 9: target.horizon is True: input should be a valid",
        ),
        (
            "max_depth: [2, 3]",
            "max_depth: [true]",
            ", line 15: training.grid: max_depth: True: input should be a valid int",
        ),
        (
            "max_depth: [2, 3]",
            "max_depth: ['3']",
            ", line 15: training.grid: max_depth: '3': input should be a valid int",
        ),
        (
            "bps_per_side: 2",
            "bps_per_side: '2'",
            ", line 11: costs.bps_per_side is '2': input should be a valid number",
        ),
        ("max_depth: [2, 3]", "target.horizn: [2, 3]", ", line 15: training.grid: 'target.horizn' cannot be varied"),
        ("max_depth: [2, 3]", "training.start: [1]", ", line 15: training.grid: 'training.start' cannot be varied"),
        ("max_depth: [2, 3]", "target.horizon: [1, 0]", ", line 15: training.grid: target.horizon: 0: input should"),
        (
            "max_depth: [2, 3]",
            "target.horizon: [1, 1]",
            ", line 15: training.grid: target.horizon needs a list of diff",
        ),
        ("max_depth: [2, 3]", "costs: [1]", ", line 15: training.grid: 'costs' cannot be varied"),
        ("feature_groups: [volume]\n", "", ", line 1: feature_groups or features must"),
        (
            "feature_groups: [volume]",
            "feature_groups: [volume]\nfeatures: [ret_1]\nexclude_features: [ret_1]",
            ", line 1: ret_1 is in features and in exclude_features",
        ),
        ("feature_groups: [volume]", "feature_groups: [volum]", ", line 6: feature_groups.0 is 'volum': allowed are"),
        ("  kind: binary", "  kind: multiclass\n  thresholds: [0.1, 0.0]", ", line 7: target: thresholds must ascend"),
        (
            "  kind: binary",
            "  kind: multiclass\n  quantiles: 3\n  threshold: 0.1",
            ", line 7: target: threshold, thres",
        ),
        (
            "  kind: binary",
            "  kind: triple_barrier\n  up: 0.1",
            ", line 7: target: a triple_barrier target needs up and",
        ),
        (
            "  start: 2000-01-01",
            "  start: 2000-01-01\n  folds: 2",
            ", line 14: training.folds is 2: input should be gre",
        ),
        (
            "  start: 2000-01-01",
            "  start: 2000-01-01\n  window: rolling",
            ", line 12: training: a rolling window needs",
        ),
        (
            "  start: 2000-01-01",
            "  start: 2000-01-01\n  fold_bars: 60",
            ", line 12: training: fold_bars needs first_train_bars",
        ),
        (
            "  start: 2000-01-01",
            "  start: 2000-01-01\n  fold_bars: 60\n  first_train_bars: 500\n  folds: 4",
            ", line 12: training: fold_bars counts folds from the first bar",
        ),
        (
            "  start: 2000-01-01",
            "  start: 2000-01-01\n  xgboost: {booster: gblinear, early_stopping_rounds: 5}",
            ", line 14: training.xgboost: early_stopping_rounds needs booster gbtree",
        ),
        (
            "  policy: long_flat",
            "  policy: top_bottom_k\n  top: 2\n  bottom: 1",
            ", line 1: position_sizing holds 3 symbols at each bar, and there are 2",
        ),
        (
            "  policy: long_flat",
            "  policy: long_flat\n  max_weight: 0.01",
            ", line 1: a whole position weighs 0.005, and rebalancing.band leaves",
        ),
    ],
)
def test_what_is_wrong_is_said(tmp_path: Path, old: str, new: str, sentence: str) -> None:
    assert old in GOOD
    assert refusal(tmp_path, GOOD.replace(old, new)).startswith(sentence)


@pytest.mark.parametrize(
    ("old", "new", "suggestion"),
    [
        ("feature_groups: [volume]", "feature_groups: [volum]", "; did you mean volume?"),
        ("target:", "targets:", "; did you mean target?"),
        ("max_depth: [2, 3]", "target.horizn: [2, 3]", "; did you mean target.horizon?"),
    ],
)
def test_the_nearest_name_is_told(tmp_path: Path, old: str, new: str, suggestion: str) -> None:
    assert refusal(tmp_path, GOOD.replace(old, new)).endswith(suggestion)


def test_a_grid_varies_anything_and_each_combination_is_a_hypothesis(tmp_path: Path) -> None:
    grid = "{target.horizon: [1, 5], feature_groups: [[volume], [volume, momentum]], position_sizing.entry: [0, 1e-1]}"
    loaded = load(write(tmp_path, GOOD[: GOOD.index("  grid:")] + f"  grid: {grid}\n"))
    made = [
        (one.target.horizon, one.feature_groups, one.position_sizing.entry, chosen) for chosen, one in loaded.trials
    ]
    assert len(made) == 8
    assert made[0][:3] == (1, ("volume",), 0.0)
    assert made[-1][:3] == (5, ("momentum", "volume"), 0.1)
    assert all(not one.training.grid for _, one in loaded.trials)
    assert loaded.variant(made[-1][3]) == loaded.trials[-1][1]


def test_a_number_may_be_written_with_an_exponent(tmp_path: Path) -> None:
    assert (
        load(write(tmp_path, GOOD.replace("[0.05, 0.1]", "[5e-2, 1e-1]"))).trials == load(write(tmp_path, GOOD)).trials
    )


def test_a_list_is_not_a_hypothesis(tmp_path: Path) -> None:
    assert refusal(tmp_path, "- a\n- b\n") == ", line 1: a hypothesis is a mapping of keys to values"
    assert refusal(tmp_path, "") == ", line 1: a hypothesis is a mapping of keys to values"


@pytest.mark.parametrize(
    ("exits", "words"),
    [
        ("{stop_loss: 0}", "exits.stop_loss is 0: input should be greater than 0"),
        ("{stop_loss: 1.0}", "exits.stop_loss is 1.0: input should be less than 1"),
        ("{stop_loss: 5%}", "exits.stop_loss is '5%'"),
        ("{take_profit: -0.1}", "exits.take_profit is -0.1: input should be greater than 0"),
        ("{max_bars: 2.5}", "exits.max_bars is 2.5"),
        ("{}", "exits says nothing: give one of score, min_bars, max_bars, stop_loss, take_profit"),
        ("{min_bars: 6, max_bars: 5}", r"min_bars \(6\) is above max_bars \(5\)"),
        ("{score: 0.3}", r"exits.score \(0.3\) must be below position_sizing.entry \(0\)"),
        ("{score: 0.0}", r"exits.score \(0\) must be below position_sizing.entry \(0\)"),
        ("{trailing_stop: 0.1}", "unknown key 'exits.trailing_stop': allowed here are score, min_bars"),
    ],
)
def test_exits_that_contradict_each_other_are_one_sentence(tmp_path: Path, exits: str, words: str) -> None:
    with pytest.raises(HypothesisError, match=words) as caught:
        load(write(tmp_path, GOOD + f"exits: {exits}\n"))
    assert "\n" not in str(caught.value)
    # what contradicts another key is no single line's fault
    assert ", line 1: " in str(caught.value) or f", line {GOOD.count(chr(10)) + 1}: " in str(caught.value)


@pytest.mark.parametrize("policy", ["proportional", "kelly"])
def test_a_size_that_follows_the_score_is_not_kept_without_it(policy: str) -> None:
    for keys in ({"min_bars": 3}, {"score": -0.1}):
        with pytest.raises(ValueError, match=f"keeps a position whatever its score, and {policy} sizes"):
            worlds.hypothesis(position_sizing={"policy": policy}, exits=keys)
    assert worlds.hypothesis(position_sizing={"policy": policy}, exits={"stop_loss": 0.05}).exits


def test_without_exits_it_is_the_hypothesis_that_it_was_before_there_were_any() -> None:
    without, with_exits = worlds.hypothesis(), worlds.hypothesis(exits={"stop_loss": 0.05})
    assert "exits" not in without.model_dump(mode="json")
    assert with_exits.content_hash != without.content_hash
    assert type(with_exits).model_validate(with_exits.model_dump(mode="json")) == with_exits


def test_without_weights_and_benchmark_it_is_the_hypothesis_that_it_was() -> None:
    training = {"start": "2000-01-01", "device": "cpu"}
    without = worlds.hypothesis(training=training)
    content = without.model_dump(mode="json")
    assert "sample_weights" not in content["training"]
    assert "benchmark" not in content
    assert worlds.hypothesis(training={**training, "sample_weights": "equal"}).content_hash == without.content_hash
    for other in (
        worlds.hypothesis(training={**training, "sample_weights": "uniqueness"}),
        worlds.hypothesis(training=training, benchmark="NOISE"),
    ):
        assert other.content_hash != without.content_hash
        assert type(other).model_validate(other.model_dump(mode="json")) == other


def test_names_are_looked_up_where_a_warehouse_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("DATABASE_URL", "PGHOST"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TRUEBAR_STATE_DIR", str(tmp_path / "state"))
    assert main(["validate", str(write(tmp_path, GOOD))]) == 0
    said = capsys.readouterr()
    assert "good_one, trials: " in said.out
    assert "its symbols and features were not looked up: the embedded PostgreSQL is not running" in said.err


def test_a_grid_varies_exits() -> None:
    training = {"start": "2000-01-01", "grid": {"exits.stop_loss": [0.02, 0.05]}}
    found = [one.exits.stop_loss for _, one in worlds.hypothesis(training=training).trials]
    assert found == [0.02, 0.05]


def test_a_missing_file_is_said(tmp_path: Path) -> None:
    with pytest.raises(HypothesisError, match=r"no\.yaml cannot be read: No such file"):
        load(tmp_path / "no.yaml")


def test_identity_is_content_not_layout_order_or_prose(tmp_path: Path) -> None:
    first = load(write(tmp_path, GOOD)).content_hash
    lines = GOOD.replace("[MSFT, AAPL]", "['AAPL', 'MSFT']").replace("Something is", "Much is").splitlines()
    same = load(write(tmp_path, "# a comment\n" + "\n".join(lines[3:] + lines[:3]))).content_hash
    other = load(write(tmp_path, GOOD.replace("bps_per_side: 2", "bps_per_side: 3"))).content_hash
    assert first == same
    assert first != other


def test_stricter_thresholds_are_taken(tmp_path: Path) -> None:
    loaded = load(write(tmp_path, GOOD + "gate: {net_sharpe: 1.5, strict: true}\n"))
    assert (loaded.thresholds.net_sharpe, loaded.thresholds.strict) == (1.5, True)


def test_it_cannot_be_changed(tmp_path: Path) -> None:
    loaded = load(write(tmp_path, GOOD))
    with pytest.raises(ValueError, match="frozen"):
        loaded.costs.bps_per_side = 0


@pytest.mark.parametrize("path", sorted(EXPERIMENTS.glob("*.yaml")), ids=lambda path: path.stem)
def test_every_experiment_is_valid_and_named_like_its_file(path: Path) -> None:
    assert load(path).experiment_id == path.stem


def test_the_schema_on_disk_is_the_code_s() -> None:
    on_disk = json.loads((EXPERIMENTS / "hypothesis.schema.json").read_text())
    assert on_disk == hypothesis.json_schema(), "python -m training schema experiments/hypothesis.schema.json"


BOMB = "x0: &x0 [a]\n" + "".join(f"x{n}: &x{n} [{', '.join([f'*x{n - 1}'] * 10)}]\n" for n in range(1, 30))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (GOOD + "x: " + "[" * 1_200, "nests too deep"),
        (GOOD + "x: " + "[" * 1_200 + "]" * 1_200, "nests too deep"),
        (GOOD + "x: " + "{a: " * 1_200 + "1" + "}" * 1_200, "nests too deep"),
        (GOOD + "x: &a [*a]\n", "line 17: this value holds itself"),
        (GOOD + "x: &a {b: *a}\n", "line 17: this value holds itself"),
        (GOOD.replace("[MSFT, AAPL]", "&a [*a]"), "line 3: this value holds itself"),
        (GOOD + BOMB, "unknown key 'x0'"),
        (GOOD.replace("_side: 2", "_side: 1.0e+400000"), "should be a finite number"),
        (GOOD.replace("_side: 2", "_side: 1e400000"), "should be a finite number"),
        (GOOD.replace("_side: 2", f"_side: {2**70}"), "less than or equal to 500"),
        (GOOD.replace("[2, 3]", f"[{2**70}]"), "less than or equal to 12"),
        (GOOD.replace("_side: 2", "_side: " + "9" * 6_000), "6000 digit"),
        (GOOD.replace("_side: 2", "_side: 0x" + "f" * 6_000), "line 11: no number here has 6,002 digits"),
        (GOOD.replace("good_one", "good\0one"), "x0000"),
        (GOOD.replace("Something is believed.", r'"a\0b"'), "line 2: a text holds a zero byte"),
        (GOOD.replace("Something is believed.", r'"a\ud800b"'), "should be a valid string"),
        (GOOD + "? [a, b]\n: 1\n", "unhashable key"),
        (GOOD + "? !!python/object:os.system x\n: 1\n", "could not determine a constructor"),
    ],
)
def test_odd_yaml_is_one_sentence(text: str, words: str, tmp_path: Path) -> None:
    assert words in refusal(tmp_path, text)
