"""Whether rules, scenarios and experiments make sense: names, references, ranges; and what may be a mistake in them."""

import dataclasses
import difflib
import math
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass

from springtide.errors import InvalidRequestError
from springtide.expressions import Kind, Schema, parse
from springtide.steering.assignment import check_experiments
from springtide.steering.values import Experiment, QuerySteering, Rule, Scenario, Steering

MAX_NAME = 64
MAX_RULES = 1_000
MAX_SCENARIOS = 200
MAX_EXPERIMENTS = 200
MAX_ITEMS = 10_000  # Of one rule.
MAX_ITEMS_IN_ALL = 100_000
MAX_BYTES_IN_ALL = 3_000_000  # gRPC clients take answers of 4 MiB, and GetSteering gives all at once.
MAX_WORD_BYTES = 256
MAX_EXPRESSION_BYTES = 4_096
MAX_NOTE = 1_000  # Characters.
MAX_COUNT = 1_000
MAX_ATTRIBUTES = 64
MAX_ROTATION_MS = 366 * 86_400_000
MAX_FACTOR = 1e6
MAX_WEIGHT = 100.0  # By which the exponent of a context weight is multiplied.
_MIN_TIME_MS, _MAX_TIME_MS = -62_135_596_800_000, 253_402_300_799_999  # From the year 1 to the year 9999.
_NAME = re.compile(r"[A-Za-z0-9_-]+")
_MAX_WARNED = 5  # Items that a warning names.


@dataclass(frozen=True, slots=True)
class Known:
    """What there is, as far as it is known: what is not is warned of.

    Attributes:
        has_item: Whether there is an item of an id.
        model_versions: Versions of the model registry.
        schema: The attributes that expressions may name; None where there is none yet, and any may come.
    """

    has_item: Callable[[str], bool]
    model_versions: Collection[str]
    schema: Schema | None = None


def checked(steering: Steering, known: Known | None = None) -> tuple[Steering, list[str]]:
    """Return a steering that makes sense, and what may be a mistake in it, a sentence each.

    Args:
        steering: The rules, scenarios and experiments.
        known: What there is; None checks the steering by itself alone.

    Raises:
        InvalidRequestError: If it makes none. Its field is named as in a file: ``rules.NAME.items``.
    """
    _at_most("rules", len(steering.rules), MAX_RULES)
    _at_most("scenarios", len(steering.scenarios), MAX_SCENARIOS)
    _at_most("experiments", len(steering.experiments), MAX_EXPERIMENTS)
    _at_most("items of all rules", sum(len(rule.items) for rule in steering.rules), MAX_ITEMS_IN_ALL)
    _names("rules", [rule.name for rule in steering.rules])
    _names("scenarios", [scenario.name for scenario in steering.scenarios.values()])
    _names("experiments", [experiment.name for experiment in steering.experiments])
    schema = None if known is None else known.schema
    for rule in steering.rules:
        _check_rule(rule, steering.scenarios, schema)
    for scenario in steering.scenarios.values():
        _check_scenario(scenario, schema)
    _at_most("bytes of all texts", _num_bytes(steering), MAX_BYTES_IN_ALL)
    for experiment in steering.experiments:
        _check_experiment(experiment, steering.scenarios)
    check_experiments(steering.experiments)
    return steering, [] if known is None else list(_warnings(steering, known))


def nearest(name: str, choices: Iterable[str]) -> str:
    """Return a hint for a name that is none of some choices: ``; did you mean 'items'?``; empty without a near one."""
    near = difflib.get_close_matches(name, sorted(choices), n=1)
    return f"; did you mean {near[0]!r}?" if near else ""


def _check_rule(rule: Rule, scenarios: Collection[str], schema: Schema | None) -> None:
    where = f"rules.{rule.name}"
    _at_most(f"{where}.items", len(rule.items), MAX_ITEMS)
    _check_words(f"{where}.items", rule.items)
    if not rule.items and not rule.filter:
        raise InvalidRequestError(f"{where}.items", "wanted items, a filter, or both; got neither")
    _check_expression(f"{where}.filter", rule.filter, "filter", schema)
    _check_expression(f"{where}.segment", rule.segment, "segment", schema)
    factor, slot = f"{where}.factor", f"{where}.slot"
    if rule.action == "boost" and not 1.0 < rule.factor <= MAX_FACTOR:
        raise InvalidRequestError(factor, f"wanted more than 1, and at most {MAX_FACTOR:,.0f}, got {rule.factor:g}")
    if rule.action == "bury" and not 1.0 / MAX_FACTOR <= rule.factor < 1.0:
        raise InvalidRequestError(factor, f"wanted at least {1.0 / MAX_FACTOR:g}, and less than 1, got {rule.factor:g}")
    if rule.action in ("pin", "block") and rule.factor != 1.0:
        raise InvalidRequestError(factor, f"only a boost or a burial has one, and this is a {rule.action}")
    if rule.action == "pin" and not 1 <= rule.slot <= MAX_COUNT:
        raise InvalidRequestError(slot, f"wanted 1 to {MAX_COUNT:,}, got {rule.slot:,}")
    if rule.action != "pin" and rule.slot:
        raise InvalidRequestError(slot, f"only a pin has one, and this is a {rule.action}")
    if rule.action == "pin" and not rule.items:
        raise InvalidRequestError(f"{where}.items", "a pin names its items; a filter may only leave out some of them")
    _check_span(where, rule.start_ms, rule.end_ms)
    _at_most(f"{where}.scenarios", len(rule.scenarios), MAX_SCENARIOS)
    for scenario in rule.scenarios:
        _check_reference(f"{where}.scenarios", scenario, scenarios)
    _check_note(where, rule.note)


def _check_scenario(scenario: Scenario, schema: Schema | None) -> None:
    where, says = f"scenarios.{scenario.name}", scenario.steering
    _check_expression(f"{where}.filter", says.filter, "filter", schema)
    _check_expression(f"{where}.booster", says.booster, "booster", schema)
    if scenario.count is not None and not 1 <= scenario.count <= MAX_COUNT:
        raise InvalidRequestError(f"{where}.count", f"wanted 1 to {MAX_COUNT:,}, got {scenario.count:,}")
    _check_share(f"{where}.diversity", says.diversity)
    _check_share(f"{where}.rotation_rate", says.rotation_rate)
    _check_share(f"{where}.exploration", says.exploration)
    _check_share(f"{where}.min_relevance", says.min_relevance, least=-1.0)
    _check_words(f"{where}.diversity_attribute", [says.diversity_attribute] if says.diversity_attribute else [])
    _check_words(f"{where}.reranker", [says.reranker] if says.reranker else [])
    _check_max_per(f"{where}.max_per", says)
    if says.rotation_time_ms is not None and not 0 < says.rotation_time_ms <= MAX_ROTATION_MS:
        raise InvalidRequestError(
            f"{where}.rotation_time", f"wanted more than 0, and at most 366 days, got {says.rotation_time_ms / 1e3:g} s"
        )
    for name, words in (("exclude_seen", scenario.exclude_seen), ("include_attributes", says.include_attributes)):
        _at_most(f"{where}.{name}", len(words), MAX_ATTRIBUTES)
        _check_words(f"{where}.{name}", words)
    _check_weights(f"{where}.weights", says.weights)
    _check_note(where, scenario.note)


def _check_experiment(experiment: Experiment, scenarios: Collection[str]) -> None:
    where = f"experiments.{experiment.name}"
    _names(f"{where}.variants", [variant.name for variant in experiment.variants])
    for variant in experiment.variants:
        inside = f"{where}.variants.{variant.name}"
        if variant.scenario:
            _check_reference(f"{inside}.scenario", variant.scenario, scenarios)
        _check_words(f"{inside}.model_version", [variant.model_version] if variant.model_version else [])
        _check_weights(f"{inside}.weights", variant.weights)
    if experiment.layer and not _is_name(experiment.layer):
        raise InvalidRequestError(f"{where}.layer", _wanted_name(experiment.layer))
    _check_words(f"{where}.salt", [experiment.salt] if experiment.salt else [])
    _at_most(f"{where}.conversions", len(experiment.conversions), MAX_ATTRIBUTES)
    _check_words(f"{where}.conversions", experiment.conversions)
    _check_span(where, experiment.start_ms, experiment.end_ms)
    _check_note(where, experiment.note)


def _warnings(steering: Steering, known: Known) -> Iterator[str]:
    for rule in steering.rules:
        unknown = [item for item in rule.items if not known.has_item(item)]
        if unknown:
            more = f" and {len(unknown) - _MAX_WARNED:,} more" if len(unknown) > _MAX_WARNED else ""
            yield (
                f"Rule {rule.name} names {len(unknown):,} {'item' if len(unknown) == 1 else 'items'} that the graph "
                f"does not have: {', '.join(unknown[:_MAX_WARNED])}{more}."
            )
    for experiment in steering.experiments:
        for variant in experiment.variants:
            if variant.model_version and variant.model_version not in known.model_versions:
                yield (
                    f"Variant {variant.name} of experiment {experiment.name} names model {variant.model_version}, "
                    "which the registry does not have."
                )


def _names(where: str, names: Sequence[str]) -> None:
    seen: set[str] = set()
    for name in names:
        if not _is_name(name):
            raise InvalidRequestError(f"{where}.{name[:MAX_NAME]}", _wanted_name(name))
        if name in seen:
            raise InvalidRequestError(f"{where}.{name}", f"the name {name!r} stands there twice")
        seen.add(name)


def _is_name(name: str) -> bool:
    return len(name) <= MAX_NAME and _NAME.fullmatch(name) is not None


def _wanted_name(name: str) -> str:
    return f"wanted a name of letters, digits, `-` and `_`, of 1 to {MAX_NAME}, got {name[:MAX_NAME]!r}"


def _check_reference(where: str, name: str, scenarios: Collection[str]) -> None:
    if name not in scenarios:
        choices = ", ".join(sorted(scenarios)) or "none"
        raise InvalidRequestError(where, f"no scenario {name[:MAX_NAME]!r} (choices: {choices})")


def _check_expression(where: str, text: str, kind: Kind, schema: Schema | None) -> None:
    if (length := len(text.encode("utf-8", "surrogatepass"))) > MAX_EXPRESSION_BYTES:
        raise InvalidRequestError(where, f"wanted at most {MAX_EXPRESSION_BYTES:,} bytes, got {length:,}")
    if text:
        expression = parse(text, where)
        if schema is not None:
            expression.check(schema, kind, where)


def _check_max_per(where: str, says: QuerySteering) -> None:
    _at_most(where, len(says.max_per), MAX_ATTRIBUTES)
    _check_words(where, [attribute for attribute, _ in says.max_per])
    for attribute, most in says.max_per:
        if not 1 <= most <= MAX_COUNT:
            raise InvalidRequestError(f"{where}.{attribute}", f"wanted 1 to {MAX_COUNT:,}, got {most:,}")


def _check_weights(where: str, weights: Sequence[tuple[str, float]]) -> None:
    _at_most(where, len(weights), MAX_ATTRIBUTES)
    _check_words(where, [name for name, _ in weights])
    for name, factor in weights:
        if not 0.0 <= factor <= MAX_WEIGHT:  # NaN is not, either.
            raise InvalidRequestError(f"{where}.{name}", f"wanted 0 to {MAX_WEIGHT:g}, got {factor:g}")


def _check_share(where: str, share: float | None, least: float = 0.0) -> None:
    if share is not None and not (math.isfinite(share) and least <= share <= 1.0):
        raise InvalidRequestError(where, f"wanted {least:g} to 1, got {share:g}")


def _check_span(where: str, start_ms: int | None, end_ms: int | None) -> None:
    for name, time_ms in (("start", start_ms), ("end", end_ms)):
        if time_ms is not None and not _MIN_TIME_MS <= time_ms <= _MAX_TIME_MS:
            raise InvalidRequestError(f"{where}.{name}", "wanted a time of the years 1 to 9999")
    if start_ms is not None and end_ms is not None and start_ms >= end_ms:
        raise InvalidRequestError(f"{where}.end", "wanted a time after the start")


def _check_words(where: str, words: Sequence[str]) -> None:
    for word in words:
        if not word or len(word.encode("utf-8", "surrogatepass")) > MAX_WORD_BYTES:
            raise InvalidRequestError(where, f"wanted 1 to {MAX_WORD_BYTES} bytes in each, got {word[:MAX_NAME]!r}")
    if len(set(words)) < len(words):
        twice = next(word for position, word in enumerate(words) if word in words[:position])
        raise InvalidRequestError(where, f"{twice[:MAX_NAME]!r} stands there twice")


def _check_note(where: str, note: str) -> None:
    if len(note) > MAX_NOTE:
        raise InvalidRequestError(f"{where}.note", f"wanted at most {MAX_NOTE:,} characters, got {len(note):,}")


def _num_bytes(value: object) -> int:
    if isinstance(value, str):
        return len(value.encode("utf-8", "surrogatepass"))
    if isinstance(value, dict):
        return sum(map(_num_bytes, value.values()))
    if dataclasses.is_dataclass(value):
        return sum(_num_bytes(getattr(value, each.name)) for each in dataclasses.fields(value))
    return sum(map(_num_bytes, value)) if isinstance(value, tuple | list) else 0


def _at_most(where: str, number: int, most: int) -> None:
    if number > most:
        raise InvalidRequestError(where, f"wanted at most {most:,}, got {number:,}")
