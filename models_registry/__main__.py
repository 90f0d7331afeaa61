"""python -m models_registry list|show|promote|retire|diff"""

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict

from models_registry import registry
from models_registry.comparison import differences
from models_registry.registry import ModelRecord
from warehouse.errors import OperatorError, Stop
from warehouse.refusals import in_words


def main(arguments: list[str] | None = None, *, called: str | None = None) -> int:
    """Exit status: 0, 1 when two models differ, 2 when the registry refuses."""
    parser = argparse.ArgumentParser(prog=called or "python -m models_registry", description="Look after models.")
    commands = parser.add_subparsers(dest="command", required=True)
    listing = commands.add_parser("list", help="every model and its state")
    listing.add_argument("--state", choices=tuple(registry.NEXT), help="only those in this state")
    shown = commands.add_parser("show", help="all that is known of one model")
    shown.add_argument("model")
    for command in (listing, shown):
        command.add_argument("--json", action="store_true", help="for programs")
    promotion = commands.add_parser(
        "promote",
        help="let a model trade, on paper or live",
        description="On paper: a candidate that passed the gate takes the place of the models that trade its symbols. "
        "Live: a model with a clean paper record.",
    )
    promotion.add_argument("model")
    promotion.add_argument("--to", choices=("paper", "live"), default="paper", help="default: %(default)s")
    promotion.add_argument("--by", required=True, metavar="NAME", help="who decides it")
    retirement = commands.add_parser("retire", help="end a model for good; its positions are closed by `flatten`")
    retirement.add_argument("model")
    for command in (promotion, retirement):
        command.add_argument("--reason", required=True, help="for the record")
    diff = commands.add_parser("diff", help="what differs between two models")
    diff.add_argument("one")
    diff.add_argument("other")
    options = parser.parse_args(arguments)
    try:
        with in_words():
            return _run(options)
    except OperatorError as error:
        print(f"models_registry: {error}", file=sys.stderr)
        return error.exit_status


def _run(options: argparse.Namespace) -> int:
    match options.command:
        case "list":
            _list(registry.models(options.state), as_json=options.json)
        case "show":
            _show(options.model, as_json=options.json)
        case "promote":
            _print_state(_promote(options))
        case "retire":
            _print_state(registry.advance(options.model, "retired", _said(options.reason)))
        case _:
            return _diff(options.one, options.other)
    return 0


def _promote(options: argparse.Namespace) -> ModelRecord:
    if not options.by.strip():
        raise Stop("--by is empty: say who decides")
    reason = _said(options.reason)
    if options.to == "live":
        return registry.advance(options.model, "live", reason, operator=options.by)
    rivals = registry.rivals(options.model)
    record = registry.replace_rivals(options.model, reason, operator=options.by)
    for rival in rivals:
        _print_state(registry.get(rival.model_id))
    return record


def _said(reason: str) -> str:
    if not reason.strip():
        raise Stop("--reason is empty: say why")
    return reason


def _list(records: Sequence[ModelRecord], *, as_json: bool) -> None:
    if as_json:
        print(json.dumps([asdict(record) for record in records], default=str, indent=2))
        return
    if not records:
        print("there is no model: `python -m flows train` makes one of each hypothesis that passes the gate")
        return
    rows = [("model", "state", "since (UTC)", "bars", "symbols", "trained through")]
    rows += [
        (
            record.model_id,
            record.state,
            f"{record.entered_at:%Y-%m-%d %H:%M}",
            record.timeframe,
            _symbols(record),
            f"{record.trained_through:%Y-%m-%d}",
        )
        for record in records
    ]
    _print_table(rows)


def _show(model_id: str, *, as_json: bool) -> None:
    record = registry.get(model_id)
    states = registry.history(model_id)
    manifest = registry.load_model(model_id).manifest.model_dump(mode="json")
    if as_json:
        facts = {**asdict(record), "states": states, "manifest": manifest}
        print(json.dumps(facts, default=str, indent=2))
        return
    print(f"{model_id} trades {record.timeframe} bars of {', '.join(record.symbols)}")
    print(f"  hypothesis {record.hypothesis_id}, run {record.run_id}, trial {record.trial_id}")
    print(f"  trained through {record.trained_through:%Y-%m-%d %H:%M} UTC on {len(manifest['features'])} features")
    for entered_at, state, reason in states:
        print(f"  {entered_at:%Y-%m-%d %H:%M} UTC {state}: {reason}")
    evidence = manifest["gate_evidence"] or {}
    for check in evidence.get("checks") or []:
        print("  gate, tier {tier}: {name} {value} {comparison} {threshold}".format(**check))


def _diff(one: str, other: str) -> int:
    found = differences(registry.load_model(one).manifest, registry.load_model(other).manifest)
    if not found:
        print(f"{one} and {other} differ in nothing but their trees")
        return 0
    _print_table([("what", one, other), *found])
    return 1


def _symbols(record: ModelRecord) -> str:
    more = len(record.symbols) - 4
    return ", ".join(record.symbols[:4]) + (f" and {more} more" if more > 0 else "")


def _print_state(record: ModelRecord) -> None:
    print(f"model {record.model_id} is {record.state}: {record.reason}")


def _print_table(rows: Sequence[tuple[str, ...]]) -> None:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        print("  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip())


if __name__ == "__main__":
    sys.exit(main())
