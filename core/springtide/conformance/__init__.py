"""Conformance checks: what every part of a kind must do, built-in or not.

Under pytest, or anywhere::

    from springtide.testing import check_loss

    def test_my_loss_is_one():
        check_loss(MyLoss)
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from torch_geometric.nn import Aggregation, MeanAggregation

from springtide.conformance import (
    aggregators,
    baselines,
    context_weights,
    decoders,
    encoders,
    indexes,
    losses,
    negative_samplers,
    rerankers,
    samples,
    tasks,
)
from springtide.conformance.checks import Check, CheckResult, Subject
from springtide.errors import ConformanceError, PluginError
from springtide.plugins.loading import Plugins, load_plugins
from springtide.settings.model import PartSettings, PluginSettings

CHECKS: Mapping[str, Sequence[Check]] = {
    "encoder": encoders.CHECKS,
    "aggregator": aggregators.CHECKS,
    "loss": losses.CHECKS,
    "negative sampler": negative_samplers.CHECKS,
    "task": tasks.CHECKS,
    "context weight": context_weights.CHECKS,
    "baseline": baselines.CHECKS,
    "decoder": decoders.CHECKS,
    "index": indexes.CHECKS,
    "reranker": rerankers.CHECKS,
}
"""For each kind of part its checks, in the order in which they run."""


def run_checks(
    kind: str,
    wanted: PartSettings,
    plugins: Plugins,
    aggregator: Aggregation | None = None,
    checks: Sequence[Check] | None = None,
) -> list[CheckResult]:
    """Check a part that plugins offer.

    Args:
        kind: Kind of the part.
        wanted: Name and options of the part.
        plugins: Plugins that offer the part.
        aggregator: Aggregator that an encoder is checked with; the mean if None.
        checks: Checks to run; all of the kind if None.

    Raises:
        SettingsError: If the part does not take the options.
        UnknownPartError: If no plugin offers the part.
    """
    offered: dict[str, Any] = {}
    if kind == "aggregator":
        offered = {"width": samples.WIDTH}
    if kind == "loss":
        offered = {"num_layers": losses.NUM_LAYERS}
    if kind == "encoder":
        offered = {
            "width": samples.WIDTH,
            "num_layers": samples.NUM_LAYERS,
            "aggregator": aggregator or MeanAggregation(),
            "schema": samples.SCHEMA,
        }
    subject = Subject(kind, wanted, plugins, offered)
    subject.make()  # A part that cannot be made is one error, not one for each check.
    return [check.result(subject) for check in (CHECKS[kind] if checks is None else checks)]


def check_encoder(
    factory: Callable[..., Any],
    aggregator: Aggregation | None = None,
    serving: Callable[..., Any] | None = None,
    **options: Any,
) -> None:
    """Check an encoder.

    Args:
        factory: What a plugin registers: a class, a function or a ``functools.partial``.
        aggregator: Aggregator that it is checked with; the mean if None.
        serving: Its serving half; None if it has none.
        **options: Options other than their defaults.

    Raises:
        ConformanceError: If it fails a check.
    """
    _check("encoder", factory, options, aggregator, serving)


def check_aggregator(factory: Callable[..., Any], serving: Callable[..., Any] | None = None, **options: Any) -> None:
    """Check an aggregator; see ``check_encoder``."""
    _check("aggregator", factory, options, serving=serving)


def check_loss(factory: Callable[..., Any], **options: Any) -> None:
    """Check a loss; see ``check_encoder``."""
    _check("loss", factory, options)


def check_negative_sampler(factory: Callable[..., Any], **options: Any) -> None:
    """Check a negative sampler; see ``check_encoder``."""
    _check("negative sampler", factory, options)


def check_task(factory: Callable[..., Any], **options: Any) -> None:
    """Check a task beside link prediction; see ``check_encoder``."""
    _check("task", factory, options)


def check_context_weight(factory: Callable[..., Any], **options: Any) -> None:
    """Check a context weight; see ``check_encoder``."""
    _check("context weight", factory, options)


def check_baseline(factory: Callable[..., Any], **options: Any) -> None:
    """Check a baseline; see ``check_encoder``."""
    _check("baseline", factory, options)


def check_decoder(factory: Callable[..., Any], **options: Any) -> None:
    """Check a decoder; see ``check_encoder``."""
    _check("decoder", factory, options)


def check_index(factory: Callable[..., Any], **options: Any) -> None:
    """Check an index; see ``check_encoder``."""
    _check("index", factory, options)


def check_reranker(factory: Callable[..., Any], **options: Any) -> None:
    """Check a reranker; see ``check_encoder``."""
    _check("reranker", factory, options)


def _check(
    kind: str,
    factory: Callable[..., Any],
    options: Mapping[str, Any],
    aggregator: Aggregation | None = None,
    serving: Callable[..., Any] | None = None,
) -> None:
    __tracebackhide__ = True  # Pytest then shows the line of the caller.
    name = "under_test"
    shown = getattr(factory, "__name__", name)
    try:
        plugins = load_plugins(PluginSettings(on_error="skip")).with_part(kind, name, factory, serving=serving)
    except PluginError as error:
        raise ConformanceError(str(error).replace(repr(name), repr(shown))) from error
    results = run_checks(kind, PartSettings(name=name, options=dict(options)), plugins, aggregator)
    failed = [result for result in results if not result.has_passed]
    if failed:
        lines = [f"{kind} {shown!r} fails {len(failed)} of {len(results)} checks:"]
        for result in failed:
            lines += [f"✗ {result.check.name}", f"    wanted {result.wanted}, got {result.got}"]
        raise ConformanceError("\n".join(lines))
