"""Turning rules, scenarios and experiments from messages into values and back."""

from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from springtide.errors import InvalidRequestError
from springtide.steering.editing import Edit
from springtide.steering.store import SteeringChange
from springtide.steering.values import Experiment, QuerySteering, Rule, RuleAction, Scenario, Steering, Variant
from springtide.v1 import admin_pb2, steering_pb2
from springtide_services.serving.response_translation import to_timestamp

_MS_PER_SECOND, _NS_PER_MS = 1_000, 1_000_000
_ACTIONS: dict[int, RuleAction] = {
    steering_pb2.RULE_ACTION_PIN: "pin",
    steering_pb2.RULE_ACTION_BOOST: "boost",
    steering_pb2.RULE_ACTION_BURY: "bury",
    steering_pb2.RULE_ACTION_BLOCK: "block",
}
_ACTION_NUMBERS = {action: number for number, action in _ACTIONS.items()}


def to_edit(request: admin_pb2.UpdateSteeringRequest) -> Edit:
    """Return the change that a request asks for.

    Raises:
        InvalidRequestError: If a rule has no action, or two have one name.
    """
    return Edit(
        put=to_values(request.put),
        remove_rules=tuple(request.remove_rules),
        remove_scenarios=tuple(request.remove_scenarios),
        remove_experiments=tuple(request.remove_experiments),
        replace=request.replace,
    )


def to_request(edit: Edit) -> admin_pb2.UpdateSteeringRequest:
    """Return the request that asks for a change."""
    return admin_pb2.UpdateSteeringRequest(
        put=to_message(edit.put),
        remove_rules=edit.remove_rules,
        remove_scenarios=edit.remove_scenarios,
        remove_experiments=edit.remove_experiments,
        replace=edit.replace,
    )


def to_values(message: steering_pb2.Steering, version: int = 0) -> Steering:
    """Return rules, scenarios and experiments of a message; whether they make sense, ``checked`` says.

    Raises:
        InvalidRequestError: If a rule has no action, or two have one name.
    """
    for kind in ("rules", "scenarios", "experiments"):
        seen: set[str] = set()
        for each in getattr(message, kind):
            if each.name in seen:
                raise InvalidRequestError(kind, f"the name {each.name[:64]!r} stands there twice")
            seen.add(each.name)
    return Steering(
        rules=tuple(sorted(map(_to_rule, message.rules), key=lambda rule: rule.name)),
        scenarios={each.name: _to_scenario(each) for each in sorted(message.scenarios, key=lambda each: each.name)},
        experiments=tuple(sorted(map(_to_experiment, message.experiments), key=lambda each: each.name)),
        version=version,
    )


def to_message(steering: Steering) -> steering_pb2.Steering:
    """Return rules, scenarios and experiments as a message."""
    return steering_pb2.Steering(
        rules=map(_rule, steering.rules),
        scenarios=map(_scenario, steering.scenarios.values()),
        experiments=map(experiment_message, steering.experiments),
    )


def to_change_message(change: SteeringChange) -> admin_pb2.SteeringChange:
    """Return a change as a message."""
    return admin_pb2.SteeringChange(
        version=change.version,
        change_time=to_timestamp(change.time_ms) if change.time_ms else None,
        actor=change.actor,
        reason=change.reason,
        changes=change.changes,
    )


def _to_rule(message: steering_pb2.Rule) -> Rule:
    if message.action not in _ACTIONS:
        choices = ", ".join(steering_pb2.RuleAction.Name(number) for number in _ACTIONS)
        raise InvalidRequestError(f"rules.{message.name}.action", f"no action {message.action} (choices: {choices})")
    action = _ACTIONS[message.action]
    return Rule(
        name=message.name,
        action=action,
        items=tuple(message.items),
        filter=message.filter,
        segment=message.segment,
        factor=message.factor or 1.0,
        slot=message.slot,
        start_ms=_to_ms(message.start_time) if message.HasField("start_time") else None,
        end_ms=_to_ms(message.end_time) if message.HasField("end_time") else None,
        scenarios=tuple(message.scenarios),
        note=message.note,
    )


def _rule(rule: Rule) -> steering_pb2.Rule:
    return steering_pb2.Rule(
        name=rule.name,
        action=_ACTION_NUMBERS[rule.action],  # type: ignore[arg-type]  # The numbers are those of the enum.
        items=rule.items,
        filter=rule.filter,
        segment=rule.segment,
        factor=rule.factor if rule.action in ("boost", "bury") else 0.0,
        slot=rule.slot,
        start_time=_time(rule.start_ms),
        end_time=_time(rule.end_ms),
        scenarios=rule.scenarios,
        note=rule.note,
    )


def _to_scenario(message: steering_pb2.Scenario) -> Scenario:
    def optional(name: str) -> float | None:
        return float(getattr(message, name)) if message.HasField(name) else None

    steering = QuerySteering(
        filter=message.filter,
        booster=message.booster,
        diversity=optional("diversity"),
        diversity_attribute=message.diversity_attribute,
        max_per=tuple(sorted(message.max_per.items())),
        rotation_rate=optional("rotation_rate"),
        rotation_time_ms=_to_duration_ms(message.rotation_time) if message.HasField("rotation_time") else None,
        exploration=optional("exploration"),
        min_relevance=optional("min_relevance"),
        include_attributes=tuple(message.include_attributes),
        reranker=message.reranker,
        weights=tuple(sorted(message.weights.items())),
    )
    return Scenario(
        name=message.name,
        steering=steering,
        count=message.count if message.HasField("count") else None,
        exclude_seen=tuple(message.exclude_seen),
        note=message.note,
    )


def _scenario(scenario: Scenario) -> steering_pb2.Scenario:
    says = scenario.steering
    return steering_pb2.Scenario(
        name=scenario.name,
        filter=says.filter,
        booster=says.booster,
        count=scenario.count,
        diversity=says.diversity,
        diversity_attribute=says.diversity_attribute,
        max_per=dict(says.max_per),
        rotation_rate=says.rotation_rate,
        rotation_time=None if says.rotation_time_ms is None else _duration(says.rotation_time_ms),
        exploration=says.exploration,
        min_relevance=says.min_relevance,
        exclude_seen=scenario.exclude_seen,
        include_attributes=says.include_attributes,
        reranker=says.reranker,
        weights=dict(says.weights),
        note=scenario.note,
    )


def _to_experiment(message: steering_pb2.Experiment) -> Experiment:
    return Experiment(
        name=message.name,
        variants=tuple(
            Variant(each.name, each.share, each.model_version, each.scenario, tuple(sorted(each.weights.items())))
            for each in message.variants
        ),
        layer=message.layer,
        salt=message.salt,
        start_ms=_to_ms(message.start_time) if message.HasField("start_time") else None,
        end_ms=_to_ms(message.end_time) if message.HasField("end_time") else None,
        conversions=tuple(message.conversions),
        note=message.note,
    )


def experiment_message(experiment: Experiment) -> steering_pb2.Experiment:
    """Return an experiment as a message."""
    return steering_pb2.Experiment(
        name=experiment.name,
        layer=experiment.layer,
        salt=experiment.salt,
        variants=[
            steering_pb2.Variant(
                name=each.name,
                share=each.share,
                model_version=each.model_version,
                scenario=each.scenario,
                weights=dict(each.weights),
            )
            for each in experiment.variants
        ],
        start_time=_time(experiment.start_ms),
        end_time=_time(experiment.end_ms),
        conversions=experiment.conversions,
        note=experiment.note,
    )


def _time(time_ms: int | None) -> Timestamp | None:
    return None if time_ms is None else to_timestamp(time_ms)


def _to_ms(time: Timestamp) -> int:
    return time.seconds * _MS_PER_SECOND + time.nanos // _NS_PER_MS


def _duration(duration_ms: int) -> Duration:
    return Duration(seconds=duration_ms // _MS_PER_SECOND, nanos=duration_ms % _MS_PER_SECOND * _NS_PER_MS)


def _to_duration_ms(duration: Duration) -> int:
    return duration.seconds * _MS_PER_SECOND + duration.nanos // _NS_PER_MS
