"""Changing rules, scenarios and experiments: what is put, what is removed, and what that comes to in sentences."""

import dataclasses
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from springtide.errors import InvalidRequestError
from springtide.steering.values import NO_STEERING, Experiment, Rule, Scenario, Steering, Variant

_MAX_SHOWN = 5  # Items or values that a sentence names.
_ACTIONS = {"pin": "pins", "boost": "boosts", "bury": "buries", "block": "blocks"}
UNITS_MS: Mapping[str, int] = {"days": 86_400_000, "hours": 3_600_000, "minutes": 60_000, "seconds": 1_000, "ms": 1}
Named = Rule | Scenario | Experiment


@dataclass(frozen=True, slots=True)
class Edit:
    """A change of what steers.

    Attributes:
        put: What to add, or to put in the place of what has the same name.
        remove_rules: Names of rules to remove.
        remove_scenarios: Names of scenarios to remove.
        remove_experiments: Names of experiments to remove.
        replace: Whether all that is not in ``put`` is removed.
    """

    put: Steering = NO_STEERING
    remove_rules: tuple[str, ...] = ()
    remove_scenarios: tuple[str, ...] = ()
    remove_experiments: tuple[str, ...] = ()
    replace: bool = False


def edited(steering: Steering, edit: Edit) -> Steering:
    """Return what an edit makes of a steering, of the same version.

    Raises:
        InvalidRequestError: If it removes what is not there, or puts what it removes.
    """
    rules = _edited("rule", steering.rules, edit.put.rules, edit.remove_rules, edit.replace)
    scenarios = _edited(
        "scenario", steering.scenarios.values(), edit.put.scenarios.values(), edit.remove_scenarios, edit.replace
    )
    experiments = _edited(
        "experiment", steering.experiments, edit.put.experiments, edit.remove_experiments, edit.replace
    )
    return Steering(
        rules=tuple(rules.values()),
        scenarios=scenarios,
        experiments=tuple(experiments.values()),
        version=steering.version,
    )


def changes_between(before: Steering, after: Steering) -> list[str]:
    """Return what differs, a sentence for each rule, scenario and experiment; none if nothing does."""
    return [
        *_changes("Rule", before.rules, after.rules),
        *_changes("Scenario", before.scenarios.values(), after.scenarios.values()),
        *_changes("Experiment", before.experiments, after.experiments),
    ]


def in_words(time_ms: int | None) -> str:
    """Return a time as people write it, in UTC: ``2026-12-24``, or ``2026-12-24 18:00``; ``never`` for None."""
    if time_ms is None:
        return "never"
    moment = datetime.fromtimestamp(time_ms / 1e3, UTC)
    if time_ms % 86_400_000 == 0:
        return f"{moment:%Y-%m-%d}"
    if time_ms % 60_000 == 0:
        return f"{moment:%Y-%m-%d %H:%M} UTC"
    if time_ms % 1_000 == 0:
        return f"{moment:%Y-%m-%d %H:%M:%S} UTC"
    return f"{moment.isoformat(sep=' ', timespec='milliseconds').removesuffix('+00:00')} UTC"


def rule_in_words(rule: Rule) -> str:
    """Return what a rule does: ``blocks 1 item (123) until 2026-12-24``."""
    words = [_ACTIONS[rule.action]]
    if rule.items:
        words.append(f"{len(rule.items):,} {'item' if len(rule.items) == 1 else 'items'} ({_few(rule.items)})")
    elif rule.filter:
        words.append("the items")
    if rule.filter:
        words.append(f"where {rule.filter}")
    if rule.action in ("boost", "bury"):
        words.append(f"by {rule.factor:g}")
    if rule.action == "pin":
        words.append(f"to slot {rule.slot}")
    if rule.segment:
        words.append(f"for users where {rule.segment}")
    if rule.scenarios:
        words.append(f"in {', '.join(rule.scenarios)}")
    if rule.start_ms is not None:
        words.append(f"from {in_words(rule.start_ms)}")
    if rule.end_ms is not None:
        words.append(f"until {in_words(rule.end_ms)}")
    return " ".join(words)


def scenario_in_words(scenario: Scenario) -> str:
    """Return what a scenario says: ``count 12; diversity 0.5``."""
    return "; ".join(_said(scenario)) or "nothing"


def _edited(kind: str, have: Iterable[Any], put: Iterable[Any], remove: Sequence[str], replace: bool) -> dict[str, Any]:
    by_name = {each.name: each for each in have}
    new = {each.name: each for each in put}
    for name in remove:
        if name in new:
            raise InvalidRequestError(f"remove_{kind}s", f"{kind} {name!r} cannot be both put and removed")
        if name not in by_name:
            choices = ", ".join(sorted(by_name)) or "none"
            raise InvalidRequestError(f"remove_{kind}s", f"no {kind} {name!r} (choices: {choices})")
    after = new if replace else {name: each for name, each in by_name.items() if name not in remove} | new
    return dict(sorted(after.items()))


def _changes(kind: str, before: Iterable[Named], after: Iterable[Named]) -> Iterator[str]:
    old, new = {each.name: each for each in before}, {each.name: each for each in after}
    for name in sorted(old.keys() | new.keys()):
        if name not in new:
            yield f"{kind} {name} is removed."
        elif name not in old:
            yield f"{kind} {name} is new{_described(new[name])}."
        elif old[name] != new[name]:
            yield f"{kind} {name} changes: {'; '.join(_differences(old[name], new[name]))}."


def _described(value: Named) -> str:
    if isinstance(value, Rule):
        return f": {rule_in_words(value)}"
    differences = _said(value)
    return f": {'; '.join(differences)}" if differences else ""


def _said(value: Named) -> list[str]:
    return [f"{name} {_shown(name, each)}" for name, each in _fields(value).items() if name != "note"]


def _differences(old: Named, new: Named) -> Iterator[str]:
    before, after = _fields(old), _fields(new)
    for name in dict.fromkeys((*after, *before)):
        if before.get(name) == after.get(name):
            continue
        if name == "items":
            yield from _moved(before.get(name, ()), after.get(name, ()))
        else:
            yield f"{name} from {_shown(name, before.get(name))} to {_shown(name, after.get(name))}"


def _moved(before: Sequence[str], after: Sequence[str]) -> Iterator[str]:
    gone, come = (
        [each for each in before if each not in set(after)],
        [each for each in after if each not in set(before)],
    )
    if come:
        yield f"{len(come):,} more {'item' if len(come) == 1 else 'items'} ({_few(come)})"
    if gone:
        yield f"{len(gone):,} fewer {'item' if len(gone) == 1 else 'items'} ({_few(gone)})"
    if not come and not gone:
        yield "items in another order"


def _fields(value: Named) -> dict[str, Any]:
    """Return what a value says, by the name that owners use; what is as usual is left out."""
    fields: dict[str, Any] = {}
    parts: list[Any] = [value.steering, value] if isinstance(value, Scenario) else [value]
    for part in parts:
        for each in dataclasses.fields(part):
            found = getattr(part, each.name)
            if each.name not in ("name", "steering") and found not in (None, "", (), 0) and found != each.default:
                fields[each.name.removesuffix("_ms")] = found
    return fields


def _shown(name: str, value: object) -> str:
    if value is None:
        return "none"
    if name in ("start", "end") and isinstance(value, int):
        return in_words(value)
    if name == "rotation_time" and isinstance(value, int):
        return duration_in_words(value)
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, tuple):
        return _few([_element(each) for each in value])
    return str(value)


def duration_in_words(duration_ms: int) -> str:
    """Return a duration in its largest whole unit: ``7 days``, ``36 hours``, ``1 ms``."""
    for unit, unit_ms in UNITS_MS.items():
        if duration_ms % unit_ms == 0 and duration_ms:
            number = duration_ms // unit_ms
            return f"{number} {unit if unit == 'ms' or number != 1 else unit.removesuffix('s')}"
    return "0 seconds"


def _element(value: object) -> str:
    if isinstance(value, Variant):
        said = [f"{value.share:g} of users"]
        said += [f"model {value.model_version}"] if value.model_version else []
        said += [f"scenario {value.scenario}"] if value.scenario else []
        said += [f"{name} × {factor:g}" for name, factor in value.weights]
        return f"{value.name} ({', '.join(said)})"
    if isinstance(value, tuple):
        name, number = value
        return f"{name} {number:g}"
    return str(value)


def _few(values: Sequence[str]) -> str:
    shown = ", ".join(values[:_MAX_SHOWN])
    return f"{shown} and {len(values) - _MAX_SHOWN:,} more" if len(values) > _MAX_SHOWN else shown
