"""The exponents of a trained model with their errors, for the report."""

from springtide.evaluation.measures.mean_metrics import FittedExponent
from springtide.model.artifact import exponent_errors_of, exponents_of
from springtide.model.exponents import TermExponents
from springtide.model.registry import ModelArtifact

_COSINE = "cosine"


def fitted_exponents(artifact: ModelArtifact) -> dict[str, FittedExponent]:
    """Return the exponents of a model by factor: ``cosine``, ``weather``, ``calendar: year``; errors where known."""
    exponents, errors = exponents_of(artifact.manifest), exponent_errors_of(artifact.manifest)
    unseen, seen = _by_name(exponents.unseen), _by_name(exponents.seen)
    unseen_errors = {} if errors is None else _by_name(errors.unseen)
    seen_errors = {} if errors is None else _by_name(errors.seen)
    return {
        name: FittedExponent(unseen.get(name, 0.0), unseen_errors.get(name), seen.get(name, 0.0), seen_errors.get(name))
        for name in dict.fromkeys([*unseen, *seen])
    }


def _by_name(terms: TermExponents) -> dict[str, float]:
    named = {_COSINE: terms.cosine}
    for weight, factors in terms.factors.items():
        for factor, exponent in factors.items():
            named[weight if factor == weight else f"{weight}: {factor}"] = exponent
    return named
