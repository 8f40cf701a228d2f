"""Reading a file of rules, scenarios and experiments, with errors that name the line.

It is TOML with a table for each: ``[rules.NAME]``, ``[scenarios.NAME]``, ``[experiments.NAME]``, and for each variant
of an experiment ``[experiments.NAME.variants.NAME]``. Times are dates or times of TOML, or texts of that form; without
an offset they are UTC. Durations are texts such as ``"7 days"``.
"""

import math
import re
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any, get_args

from springtide.errors import InvalidRequestError, SteeringError
from springtide.steering.checks import checked, nearest
from springtide.steering.editing import UNITS_MS
from springtide.steering.values import Experiment, Rule, RuleAction, Scenario, Steering, Variant

MAX_BYTES = 16_000_000
"""Largest file: far more than the most rules with the most items take."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MS = timedelta(milliseconds=1)
_HEADER = re.compile(r"\s*\[+([^\]]*)\]+")
_KEY = re.compile(r"\s*([^\s=#]+)\s*=")
_AT_LINE = re.compile(r"\(at line (\d+), column (\d+)\)")
_DURATION = re.compile(r"\s*(\d{1,15})\s*([A-Za-z]+)\s*", re.ASCII)
_MAX_ON_A_LINE = 5  # Texts of a list; more stand on lines of their own.
_MAX_SHOWN = 40  # Characters of a wrong value.

Read = Callable[[str, Any], Any]


def read_document(path: Path) -> Steering:
    """Return what a file says, as ``parse_document`` does.

    Raises:
        SteeringError: If it cannot be read, is no TOML, or says what makes no sense.
    """
    return parse_document(text_of(path), str(path))


def text_of(path: Path) -> str:
    """Return the content of a file.

    Raises:
        SteeringError: If it cannot be read, is no UTF-8, or is far too large.
    """
    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
        if len(content) > MAX_BYTES:
            raise SteeringError(f"{path}: wanted at most {MAX_BYTES:,} bytes")
        return content.decode()
    except OSError as error:
        raise SteeringError(f"{path}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise SteeringError(f"{path}: wanted UTF-8: {error}") from error


def parse_document(text: str, source: str = "") -> Steering:
    """Return what a file says, checked by itself: whether items and attributes exist, only a server knows.

    Args:
        text: Its content.
        source: Its name, for messages.

    Raises:
        SteeringError: If it is no TOML, or says what makes no sense; the message begins with the line.
    """
    try:
        tree = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        place = _AT_LINE.search(str(error))
        words = _AT_LINE.sub("", str(error)).strip()
        where = f"{place[1]}:{place[2]}" if place else str(len(text.splitlines()) or 1)
        raise SteeringError(f"{_prefix(source)}{where}: not TOML: {words}") from error
    except (ValueError, RecursionError) as error:  # Numbers of thousands of digits, tables in tables without end.
        raise SteeringError(f"{_prefix(source)}1: not TOML that can be read: {error}") from error
    try:
        return checked(_steering_of(tree))[0]
    except InvalidRequestError as error:
        raise located(error, text, source) from error


def located(error: InvalidRequestError, text: str, source: str = "") -> SteeringError:
    """Return an error about a field as one that says on which line of a file the field is."""
    return SteeringError(f"{_prefix(source)}{_line_of(error.field, text)}: {error}")


def _steering_of(tree: Mapping[str, Any]) -> Steering:
    _refuse_unknown("", tree, ("rules", "scenarios", "experiments"))
    rules = [rule_of(name, fields) for name, fields in _tables("rules", tree.get("rules", {}))]
    scenarios = [scenario_of(name, fields) for name, fields in _tables("scenarios", tree.get("scenarios", {}))]
    experiments = [_experiment_of(name, fields) for name, fields in _tables("experiments", tree.get("experiments", {}))]
    return Steering(
        rules=tuple(sorted(rules, key=lambda rule: rule.name)),
        scenarios={scenario.name: scenario for scenario in sorted(scenarios, key=lambda each: each.name)},
        experiments=tuple(sorted(experiments, key=lambda experiment: experiment.name)),
    )


def rule_of(name: str, fields: Mapping[str, Any]) -> Rule:
    """Return a rule of its fields, named as in a file.

    Raises:
        InvalidRequestError: If a field is unknown, or of another kind.
    """
    where = f"rules.{name}"
    if "action" not in fields:
        raise InvalidRequestError(f"{where}.action", f"wanted one of {', '.join(get_args(RuleAction))}, got none")
    read = _read(where, fields, _RULE)
    return Rule(name, **_renamed(read, start="start_ms", end="end_ms"))


def scenario_of(name: str, fields: Mapping[str, Any], before: Scenario | None = None) -> Scenario:
    """Return a scenario of its fields, named as in a file.

    Args:
        name: Its name.
        fields: What it says.
        before: What it says where the fields do not; None for nothing.

    Raises:
        InvalidRequestError: If a field is unknown, or of another kind.
    """
    read = _read(f"scenarios.{name}", fields, _SCENARIO)
    own = {key: read.pop(key) for key in ("count", "exclude_seen", "note") if key in read}
    before = before or Scenario(name)
    steering = replace(before.steering, **_renamed(read, rotation_time="rotation_time_ms"))
    return replace(before, steering=steering, **own)


def _experiment_of(name: str, fields: Mapping[str, Any]) -> Experiment:
    where = f"experiments.{name}"
    others = {key: value for key, value in fields.items() if key != "variants"}
    _refuse_unknown(where, fields, (*_EXPERIMENT, "variants"))
    variants = []
    for variant, inside in _tables(f"{where}.variants", fields.get("variants", {})):
        if "share" not in inside:
            raise InvalidRequestError(f"{where}.variants.{variant}.share", "wanted a number above 0, got none")
        variants.append(Variant(variant, **_read(f"{where}.variants.{variant}", inside, _VARIANT)))
    read = _renamed(_read(where, others, _EXPERIMENT), start="start_ms", end="end_ms")
    return Experiment(name, tuple(variants), **read)


def _tables(where: str, tree: Any) -> Iterator[tuple[str, Mapping[str, Any]]]:
    if not isinstance(tree, dict):
        raise InvalidRequestError(where, f"wanted tables such as [{where}.NAME], got {_shown(tree)}")
    for name, fields in tree.items():
        if not isinstance(fields, dict):
            raise InvalidRequestError(f"{where}.{name}", f"wanted a table [{where}.NAME], got {_shown(fields)}")
        yield name, fields


def _read(where: str, fields: Mapping[str, Any], kinds: Mapping[str, Read]) -> dict[str, Any]:
    _refuse_unknown(where, fields, tuple(kinds))
    return {name: kinds[name](f"{where}.{name}", value) for name, value in fields.items()}


def _refuse_unknown(where: str, fields: Mapping[str, Any], names: Sequence[str]) -> None:
    for name in fields:
        if name not in names:
            path = f"{where}.{name}" if where else name
            raise InvalidRequestError(path, f"no such key{nearest(name, names)} (choices: {', '.join(names)})")


def _text(where: str, value: Any) -> str:
    if not isinstance(value, str):
        hint = f'; write "{value}"' if isinstance(value, int | float) and not isinstance(value, bool) else ""
        raise InvalidRequestError(where, f"wanted a text in quotes, got {_shown(value)}{hint}")
    return value


def _texts(where: str, value: Any) -> tuple[str, ...]:
    if not isinstance(value, list):
        raise InvalidRequestError(where, f'wanted a list of texts, such as ["a", "b"], got {_shown(value)}')
    return tuple(_text(where, each) for each in value)


def _action(where: str, value: Any) -> RuleAction:
    choices: tuple[RuleAction, ...] = get_args(RuleAction)
    for choice in choices:
        if value == choice:
            return choice
    raise InvalidRequestError(
        where, f"no action {_shown(value)}{nearest(str(value), choices)} (choices: {', '.join(choices)})"
    )


def _number(where: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise InvalidRequestError(where, f"wanted a number, got {_shown(value)}")
    return float(value)


def _whole(where: str, value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise InvalidRequestError(where, f"wanted a whole number, got {_shown(value)}")
    return value


def time_ms_of(where: str, value: Any) -> int:
    """Return a date or a time, or a text of that form, in milliseconds since the Unix epoch; UTC without an offset.

    Raises:
        InvalidRequestError: If it is none; its field is ``where``.
    """
    moment = value
    if isinstance(value, str):
        try:
            moment = datetime.fromisoformat(value.strip())
        except ValueError:
            moment = None
    if isinstance(moment, date) and not isinstance(moment, datetime):
        moment = datetime(moment.year, moment.month, moment.day)
    if not isinstance(moment, datetime):
        raise InvalidRequestError(
            where,
            f"wanted a time such as 2026-12-24, 2026-12-24T18:00:00Z or 2026-12-24T18:00:00+01:00, got {_shown(value)}",
        )
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return (moment - _EPOCH) // _MS


def duration_ms_of(where: str, value: Any) -> int:
    """Return a text such as ``7 days`` in milliseconds.

    Raises:
        InvalidRequestError: If it is none; its field is ``where``.
    """
    match = _DURATION.fullmatch(value) if isinstance(value, str) else None
    unit = next((ms for name, ms in UNITS_MS.items() if match and match[2] in (name, name.removesuffix("s"))), None)
    if match is None or unit is None:
        raise InvalidRequestError(
            where, f'wanted a text such as "7 days" (units: {", ".join(UNITS_MS)}), got {_shown(value)}'
        )
    return int(match[1]) * unit


def _pairs(kind: Read, where: str, value: Any) -> tuple[tuple[str, Any], ...]:
    if not isinstance(value, dict):
        raise InvalidRequestError(where, f"wanted a table such as {{ brand = 2 }}, got {_shown(value)}")
    return tuple(sorted((name, kind(f"{where}.{name}", each)) for name, each in value.items()))


_RULE: Mapping[str, Read] = {
    "action": _action,
    "items": _texts,
    "filter": _text,
    "segment": _text,
    "factor": _number,
    "slot": _whole,
    "start": time_ms_of,
    "end": time_ms_of,
    "scenarios": _texts,
    "note": _text,
}
_SCENARIO: Mapping[str, Read] = {
    "filter": _text,
    "booster": _text,
    "count": _whole,
    "diversity": _number,
    "diversity_attribute": _text,
    "max_per": partial(_pairs, _whole),
    "rotation_rate": _number,
    "rotation_time": duration_ms_of,
    "exploration": _number,
    "min_relevance": _number,
    "exclude_seen": _texts,
    "include_attributes": _texts,
    "reranker": _text,
    "weights": partial(_pairs, _number),
    "note": _text,
}
_EXPERIMENT: Mapping[str, Read] = {
    "layer": _text,
    "salt": _text,
    "start": time_ms_of,
    "end": time_ms_of,
    "conversions": _texts,
    "note": _text,
}
_VARIANT: Mapping[str, Read] = {
    "share": _number,
    "model_version": _text,
    "scenario": _text,
    "weights": partial(_pairs, _number),
}


def _renamed(fields: dict[str, Any], **names: str) -> dict[str, Any]:
    return {names.get(name, name): value for name, value in fields.items()}


def _line_of(field: str, text: str) -> int:
    """Return the line of a field, or of the nearest that it lies in; the first one if none is found."""
    path = field.split(".")
    table: tuple[str, ...] = ()
    best = (0, 1)
    for number, line in enumerate(text.splitlines(), start=1):
        here: tuple[str, ...] = ()
        if header := _HEADER.match(line):
            table = here = tuple(part.strip().strip("\"'") for part in header[1].split("."))
        elif key := _KEY.match(line):
            here = (*table, *(part.strip("\"'") for part in key[1].split(".")))
        depth = next(
            (at for at, (a, b) in enumerate(zip(here, path, strict=False)) if a != b), min(len(here), len(path))
        )
        if depth > best[0]:
            best = (depth, number)
    return best[1]


def _prefix(source: str) -> str:
    return f"{source}:" if source else "line "


def _shown(value: Any) -> str:
    text = repr(value) if not isinstance(value, datetime | date) else value.isoformat()
    return text if len(text) <= _MAX_SHOWN else f"{text[:_MAX_SHOWN]}…"
