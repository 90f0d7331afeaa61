"""python -m training validate|train|judge|shadow|forward|calibrate|schema"""

import argparse
import json
import sys
from pathlib import Path

from training import hypothesis
from training.calibrate import with_progress
from training.commit import commit_passing, enter_shadow
from training.forward import LOOKS, judge_forward
from training.look import judge_families
from training.panel_rows import DatasetError, refuse_unknown
from training.told import verdict_of
from training.train import Run, prepare, train
from training.trials import FamilyKey
from warehouse.command_names import name_command
from warehouse.errors import OperatorError, Stop
from warehouse.refusals import in_words

# a planted edge that is larger tells nothing about a gate
LARGEST_SHARPE = 20.0


def main(arguments: list[str] | None = None, *, called: str | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m training", description="Test hypotheses and register what passes.")
    commands = parser.add_subparsers(dest="command", required=True)
    validate = commands.add_parser(
        "validate", help="check hypothesis files, and their symbols and features where a warehouse is there"
    )
    training = commands.add_parser("train", help="fit and backtest every trial of hypothesis files, and store them")
    judging = commands.add_parser("judge", help="one look of the gate at what the files tried; register what passes")
    hiding = commands.add_parser(
        "shadow", help="let the best trial whose record is too short decide every new bar and order nothing"
    )
    hiding.add_argument(
        "--looks",
        type=_at_least_one,
        nargs="+",
        default=[*LOOKS],
        metavar="DAYS",
        help=f"after so many days of decisions it is judged; fixed from then on (default: {' '.join(map(str, LOOKS))})",
    )
    hiding.add_argument("--reason", required=True, help="for the record")
    commands.add_parser("forward", help="take the looks that are due at models in the shadow")
    calibrating = commands.add_parser(
        "calibrate", help="how often the gate lets the files' search pass on your data, without an edge and with one"
    )
    calibrating.add_argument("--worlds", type=_at_least_one, default=20, help="of each kind (default: 20)")
    calibrating.add_argument("--look", type=_at_least_one, default=1, help="at which look (default: 1)")
    calibrating.add_argument(
        "--sharpe", type=_sharpe, nargs="+", default=[1.5, 2.0, 3.0], help="net Sharpe of the edges (default: 1.5 2 3)"
    )
    schema = commands.add_parser("schema", help="print the JSON Schema of a hypothesis, or write it to a file")
    for command in (validate, training, judging, hiding, calibrating):
        command.add_argument("files", nargs="+", type=Path, metavar="FILE")
    schema.add_argument("file", nargs="?", type=Path)
    name_command(parser, arguments, called)
    options = parser.parse_args(arguments)
    try:
        with in_words():
            return _run(options)
    except OperatorError as error:
        print(f"training: {error}", file=sys.stderr)
        return error.exit_status


def _run(options: argparse.Namespace) -> int:
    match options.command:
        case "validate":
            # what is wrong in a file is said of every file before any name is looked up
            for path, valid in [(path, hypothesis.load(path)) for path in options.files]:
                _look_up(path, valid)
                count = len(valid.trials)
                print(f"{path}: {valid.experiment_id}, trials: {count}, content hash: {valid.content_hash}")
        case "train":
            # all files are read before anything is tried: one bad file changes nothing
            for path, valid in [(path, hypothesis.load(path)) for path in options.files]:
                _print_run(train(valid, source_file=str(path)))
        case "judge":
            prepared = [prepare(valid) for valid in [hypothesis.load(path) for path in options.files]]
            _judge([family for _, family in prepared])
            for backtest, _ in prepared:
                _commit(backtest.run_id, backtest.hypothesis.experiment_id)
        case "shadow":
            if not options.reason.strip():
                raise Stop("--reason is empty: say why")
            for valid in [hypothesis.load(path) for path in options.files]:
                search, _ = prepare(valid)
                record = enter_shadow(search.run_id, options.looks, options.reason)
                print(f"{valid.experiment_id}: model {record.model_id} is {record.state}: {record.reason}")
        case "forward":
            outcomes = judge_forward()
            for outcome in outcomes:
                print(outcome)
            if not outcomes:
                print("no look is due at a model in the shadow")
        case "calibrate":
            counted = with_progress(
                [hypothesis.load(path) for path in options.files],
                worlds=options.worlds,
                sharpes=options.sharpe,
                look_no=options.look,
            )
            for one in counted:
                print(one.sentence())
            if any(one.worlds < options.worlds for one in counted):
                print("training: interrupted; these are the worlds that were finished", file=sys.stderr)
                return 130
        case "schema":
            text = json.dumps(hypothesis.json_schema(), indent=2) + "\n"
            if options.file:
                options.file.write_text(text)
            else:
                print(text, end="")
    return 0


def _look_up(path: Path, valid: hypothesis.Hypothesis) -> None:
    """Raise Stop for a symbol, universe, group or feature that the warehouse does not know, where one is there."""
    try:
        refuse_unknown("analyst", valid)
    except DatasetError as error:
        raise Stop(f"{path}: {error}") from None
    except OperatorError as error:
        print(f"{path}: its symbols and features were not looked up: {error}", file=sys.stderr)


def _at_least_one(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text} is not a whole number from 1 on")
    return int(text)


def _sharpe(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value <= LARGEST_SHARPE:
        raise argparse.ArgumentTypeError(f"{text} is not a Sharpe ratio above 0 and up to {LARGEST_SHARPE:g}")
    return value


def _print_run(run: Run) -> None:
    state = "trained" if run.is_new else "already stored"
    print(
        f"{run.experiment_id}: {len(run.trial_ids)} trials {state}, run {run.run_id}, family {run.family_id}; "
        f"{run.rows_used} rows used, {run.rows_unready} not ready, {run.device}"
        f"{f'; {run.beyond_memory}' if run.beyond_memory else ''}"
    )


def _judge(families: list[FamilyKey]) -> None:
    verdicts = judge_families([family.family_id for family in families])
    print(f"families: {len(set(families))}, new verdicts: {len(verdicts)}")
    for verdict in verdicts.values():
        print(f"  {verdict.trial_id} {verdict.verdict}: {verdict.explanation}")


def _commit(run_id: str, experiment_id: str) -> None:
    record = commit_passing(run_id)
    if record is not None:
        print(f"{experiment_id}: model {record.model_id} is {record.state}: {record.reason}")
    print(verdict_of(run_id) or f"{experiment_id}: no verdict yet")


if __name__ == "__main__":
    sys.exit(main())
