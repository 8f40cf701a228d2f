"""Writing rules, scenarios and experiments as a file that ``reading`` gives back."""

import json
import re
from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from typing import Any

from springtide.steering.editing import UNITS_MS, duration_in_words
from springtide.steering.values import Experiment, Rule, Scenario, Steering, Variant

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_BARE = re.compile(r"[A-Za-z0-9_-]+")
_MAX_ON_A_LINE = 5  # Texts of a list; more stand on lines of their own.


def to_document(steering: Steering) -> str:
    """Return a steering as a file; ``parse_document`` gives it back, but for its version."""
    parts = ["# Rules, scenarios and experiments. `springtide steering apply FILE` lets them hold."]
    parts += [_table(f"rules.{rule.name}", _rule_fields(rule)) for rule in steering.rules]
    parts += [_table(f"scenarios.{each.name}", _scenario_fields(each)) for each in steering.scenarios.values()]
    for experiment in steering.experiments:
        name = f"experiments.{experiment.name}"
        parts.append(_table(name, _experiment_fields(experiment)))
        parts += [_table(f"{name}.variants.{each.name}", _variant_fields(each)) for each in experiment.variants]
    return "\n\n".join(parts) + "\n"


def _rule_fields(rule: Rule) -> dict[str, str]:
    return _said(
        action=rule.action,
        items=rule.items,
        filter=rule.filter,
        segment=rule.segment,
        factor=rule.factor if rule.action in ("boost", "bury") else None,
        slot=rule.slot or None,
        start=_moment(rule.start_ms),
        end=_moment(rule.end_ms),
        scenarios=rule.scenarios,
        note=rule.note,
    )


def _scenario_fields(scenario: Scenario) -> dict[str, str]:
    says = scenario.steering
    return _said(
        filter=says.filter,
        booster=says.booster,
        count=scenario.count,
        diversity=says.diversity,
        diversity_attribute=says.diversity_attribute,
        max_per=dict(says.max_per),
        rotation_rate=says.rotation_rate,
        rotation_time=None if says.rotation_time_ms is None else duration_in_words(says.rotation_time_ms),
        exploration=says.exploration,
        min_relevance=says.min_relevance,
        exclude_seen=scenario.exclude_seen,
        include_attributes=says.include_attributes,
        reranker=says.reranker,
        weights=dict(says.weights),
        note=scenario.note,
    )


def _experiment_fields(experiment: Experiment) -> dict[str, str]:
    return _said(
        layer=experiment.layer,
        salt=experiment.salt,
        start=_moment(experiment.start_ms),
        end=_moment(experiment.end_ms),
        conversions=experiment.conversions,
        note=experiment.note,
    )


def _variant_fields(variant: Variant) -> dict[str, str]:
    return _said(
        share=variant.share,
        model_version=variant.model_version,
        scenario=variant.scenario,
        weights=dict(variant.weights),
    )


def _said(**fields: Any) -> dict[str, str]:
    """Return the fields that say something, each as TOML."""
    return {name: _toml(value) for name, value in fields.items() if value is not None and value not in ("", (), {})}


def _moment(time_ms: int | None) -> datetime | date | None:
    if time_ms is None:
        return None
    moment = _EPOCH + timedelta(milliseconds=time_ms)
    return moment.date() if time_ms % UNITS_MS["days"] == 0 else moment


def _table(name: str, fields: Mapping[str, str]) -> str:
    return "\n".join([f"[{name}]", *(f"{key} = {value}" for key, value in fields.items())])


def _toml(value: Any) -> str:
    if isinstance(value, str):
        return _quoted(value)
    if isinstance(value, tuple):
        texts = [_quoted(each) for each in value]
        if len(texts) <= _MAX_ON_A_LINE:
            return f"[{', '.join(texts)}]"
        return "".join(["[\n", *(f"    {each},\n" for each in texts), "]"])
    if isinstance(value, dict):
        return f"{{ {', '.join(f'{_key(name)} = {_toml(each)}' for name, each in value.items())} }}"
    if isinstance(value, datetime):
        return value.isoformat(timespec="milliseconds" if value.microsecond else "seconds").replace("+00:00", "Z")
    if isinstance(value, date):
        return value.isoformat()
    return repr(value)  # Of a number, which reads back as it is.


def _key(name: str) -> str:
    return name if _BARE.fullmatch(name) else _escaped(name)


def _quoted(text: str) -> str:
    """Return a text as it is, if that can be; expressions have quotes in them."""
    is_plain = ('"' in text or "\\" in text) and "'" not in text and text.isprintable()
    return f"'{text}'" if is_plain else _escaped(text)


def _escaped(text: str) -> str:
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
