"""What an experiment has brought: each variant's rate, and whether one of them wins."""

from collections.abc import Sequence
from dataclasses import dataclass

from springtide.errors import InvalidRequestError
from springtide.experiment_tallies import ExperimentTallies, VariantTally
from springtide.recommendation_ids import experiment_hash
from springtide.settings.interaction_rules import InteractionRules
from springtide.steering.anytime import Counts, difference_interval, p_value, rate_interval
from springtide.steering.values import Experiment, Variant

DEFAULT_CONFIDENCE = 0.95
MIN_CONFIDENCE, MAX_CONFIDENCE = 0.5, 0.999


@dataclass(frozen=True, slots=True)
class VariantResult:
    """What a variant has brought.

    Attributes:
        variant: Its name.
        tally: What its users did.
        rate: Share of its users who converted; 0 without users.
        rate_interval: Between which the rate is; each variant's holds at all times with the confidence that was asked.
        difference: How much the rate differs from that of the first variant.
        difference_interval: Between which the difference is; those of all variants hold together. It is a bit wider
            than what the p-value and the winner need, since the rate of the first variant is not known either.
        p_value: Against no difference; 1 for the first variant. It is not corrected for the number of variants.
    """

    variant: str
    tally: VariantTally
    rate: float
    rate_interval: tuple[float, float]
    difference: float
    difference_interval: tuple[float, float]
    p_value: float


@dataclass(frozen=True, slots=True)
class ExperimentResult:
    """What an experiment has brought.

    Attributes:
        variants: In their order.
        winner: The variant that is better than the first, of several the one with the highest rate; the first if all
            others are worse; empty while that is open.
    """

    variants: Sequence[VariantResult]
    winner: str


def result_of(
    experiment: Experiment, tallies: ExperimentTallies, rules: InteractionRules, confidence: float = DEFAULT_CONFIDENCE
) -> ExperimentResult:
    """Return what an experiment has brought until now.

    Args:
        experiment: The experiment.
        tallies: What users did.
        rules: The interaction rules: they say which events are impressions, and which ones convert.
        confidence: How sure the intervals and the winner shall be, over the whole experiment, 0.5 to 0.999.

    Raises:
        InvalidRequestError: If the confidence is out of range.
    """
    if not MIN_CONFIDENCE <= confidence <= MAX_CONFIDENCE:  # As not a NaN is.
        raise InvalidRequestError("confidence", f"wanted {MIN_CONFIDENCE:g} to {MAX_CONFIDENCE:g}, got {confidence:g}")
    found = tallies.tally(
        experiment_hash(experiment.name), len(experiment.variants), impressions(rules), conversions(experiment, rules)
    )
    return judged(experiment.variants, found, confidence)


def judged(variants: Sequence[Variant], tallies: Sequence[VariantTally], confidence: float) -> ExperimentResult:
    """Return what some variants have brought, given what their users did.

    Each of the other variants is compared with the first at an equal part of the error (Bonferroni): the probability
    that any of the comparisons is ever wrong is at most ``1 - confidence``.
    """
    error = (1.0 - confidence) / max(len(variants) - 1, 1)
    counts = [Counts(tally.num_converted, tally.num_users) for tally in tallies]
    results = []
    signs = []  # Of each variant but the first: 1 if it is better, -1 if it is worse, 0 if that is open.
    for index, (variant, tally, of_variant) in enumerate(zip(variants, tallies, counts, strict=True)):
        difference, interval, p = 0.0, (0.0, 0.0), 1.0
        if index:
            share = variant.share / (variant.share + variants[0].share)
            first, other = counts[0].converted, of_variant.converted
            difference = of_variant.rate - counts[0].rate
            interval = difference_interval(counts[0], of_variant, share, error)
            p = p_value(first, other, share)
            is_better = other * (1.0 - share) > first * share
            signs.append(0 if p > error else 1 if is_better else -1)
        own = rate_interval(of_variant, 1.0 - confidence)
        results.append(VariantResult(variant.name, tally, of_variant.rate, own, difference, interval, p))
    return ExperimentResult(results, _winner(results, signs))


def impressions(rules: InteractionRules) -> tuple[str, ...]:
    """Return the relations that say that an item was shown."""
    return rules.shown_relations


def conversions(experiment: Experiment, rules: InteractionRules) -> tuple[str, ...]:
    """Return the relations that count as conversions, by the rules as they are now."""
    if not experiment.conversions:
        return rules.positive_relations
    wanted = set(experiment.conversions)
    return tuple(rule.name for rule in rules.rules if rule.name in wanted or rule.type_name in wanted)


def _winner(results: Sequence[VariantResult], signs: Sequence[int]) -> str:
    better = [each for each, sign in zip(results[1:], signs, strict=True) if sign > 0]
    if better:
        return max(better, key=lambda each: each.rate).variant
    return results[0].variant if signs and max(signs) < 0 else ""
