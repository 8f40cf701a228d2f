"""What serves the variants of experiments, and scenarios with weights of their own, beside what all others get."""

import threading
from collections.abc import Collection, Mapping, Sequence, Set
from dataclasses import dataclass, replace

from springtide.graph.view import GraphView
from springtide.model.exponents import Exponents, TermExponents
from springtide.ranking.query import Query
from springtide.ranking.serving import Serving, ServingMaker
from springtide.ranking.serving_baseline import Served
from springtide.steering.assignment import Arm, Assigner
from springtide.steering.values import NO_STEERING, QuerySteering, Steering, Variant

COSINE = "cosine"
"""The name under which ``weights`` multiply the factor of cosines."""

MAX_WEIGHTED = 16
"""Most sets of weights that are kept ready; each has a cache of item weights of at most 32 MiB, or four moments."""

_MIN_COSINE = 1e-6  # Times the factor: a weight of 0 leaves the order of cosines where all else is equal.

Weights = tuple[tuple[str, float], ...]


@dataclass(frozen=True, slots=True)
class _Needs:
    """What must be there for an experiment to run: either all its variants are served, or none of its users has one."""

    versions: frozenset[str]
    scenarios: frozenset[str]
    has_weights: bool


@dataclass(frozen=True, slots=True)
class _Plan:
    """A steering, as far as it chooses what serves."""

    steering: Steering
    assigner: Assigner
    needs: Mapping[str, _Needs]
    scenario_weights: Mapping[str, Weights]
    is_idle: bool


@dataclass(frozen=True, slots=True)
class Placed:
    """A query as the variants of its user have it.

    Attributes:
        query: The query, with the scenario of a variant if it names none.
        serving: What answers it.
        arms: The variants that the answer is by.
    """

    query: Query
    serving: Serving
    arms: tuple[Arm, ...]


class Variants:
    """Holds what is served beside the current version; any thread may ask, and one refreshes.

    Args:
        maker: Makes what is served.
    """

    def __init__(self, maker: ServingMaker) -> None:
        self._maker = maker
        self._plan = _plan_of(NO_STEERING)
        self._models: Mapping[str, Serving] = {}  # Replaced as one.
        self._weighted: dict[tuple[str, Weights], tuple[Serving, Serving]] = {}  # What it was made of, and itself.
        self._lock = threading.Lock()

    @property
    def versions(self) -> Set[str]:
        """The versions that are there."""
        return self._models.keys()

    def has_any(self, steering: Steering) -> bool:
        """Return whether a steering may choose anything else than what all get."""
        plan = self._plan
        return not (plan if plan.steering is steering else self._planned(steering)).is_idle

    def place(self, query: Query, steering: Steering, current: Serving) -> Placed:
        """Return what answers a query.

        An experiment counts if all its variants could be served: their versions are loaded, their scenarios exist, and
        the request names no other scenario. Of two experiments of one user that both choose a model, or a scenario, the
        first counts. So no variant of an experiment is shown where another one could not have been.

        Args:
            query: The query.
            steering: What holds.
            current: What is served to all others.
        """
        plan = self._planned(steering)
        of_query = query.steering
        scenario, version = "" if of_query is None else of_query.scenario, ""
        is_scenario_taken, is_model_taken = bool(scenario), False
        all_weights = [() if of_query is None else of_query.weights]
        arms = []
        for arm in plan.assigner.arms(query.user_id, query.moment.timestamp_ms):
            needs, variant = plan.needs[arm.experiment], arm.variant
            if (
                (needs.scenarios and (is_scenario_taken or not needs.scenarios <= steering.scenarios.keys()))
                or (needs.versions and (is_model_taken or not self._has_all(needs.versions, current)))
                or (needs.has_weights and current.baseline is not None)
            ):
                continue
            if needs.scenarios:
                scenario, is_scenario_taken = variant.scenario, True
            if needs.versions:
                version, is_model_taken = variant.model_version, True
            all_weights.append(variant.weights)
            arms.append(arm)
        if scenario and (of_query is None or of_query.scenario != scenario):
            query = replace(query, steering=replace(of_query or QuerySteering(), scenario=scenario))
        all_weights.append(plan.scenario_weights.get(scenario, ()))
        return Placed(query, self._serving(version, _product(all_weights), current), tuple(arms))

    def put(self, served: Served, view: GraphView) -> None:
        """Serve a version beside the current one from now on."""
        serving = self._maker.make(served, view)
        with self._lock:
            self._models = {**self._models, serving.version: serving}

    def keep(self, versions: Collection[str]) -> None:
        """Let go all versions but some."""
        with self._lock:
            self._models = {version: serving for version, serving in self._models.items() if version in versions}
            for key in [key for key in self._weighted if key[0] and key[0] not in self._models]:
                del self._weighted[key]

    def refresh(self, view: GraphView, item_type: str, now_ms: int | None) -> None:
        """Bring all up to date with the graph, as ``Ranker.refresh`` does; called by one thread."""
        for version, serving in list(self._models.items()):
            serving.moments.refresh(view.num_nodes(item_type), now_ms)
            serving.users.drop_forgotten(view)
            fresh = self._maker.refreshed(serving, view)
            with self._lock:
                if self._models.get(version) is serving:  # Else it was let go, or loaded again, meanwhile.
                    self._models = {**self._models, version: fresh}
        for _, serving in list(self._weighted.values()):
            serving.moments.refresh(view.num_nodes(item_type), now_ms)

    def _planned(self, steering: Steering) -> _Plan:
        plan = self._plan
        if plan.steering is not steering:
            self._plan = plan = _plan_of(steering)
        return plan

    def _has_all(self, versions: frozenset[str], current: Serving) -> bool:
        return all(version in self._models or version == current.version for version in versions)

    def _serving(self, version: str, weights: Weights, current: Serving) -> Serving:
        if version == current.version:
            version = ""
        base = current if not version else self._models.get(version, current)
        if not weights or base.baseline is not None:
            return base
        key = (version, weights)
        made = self._weighted.get(key)
        if made is not None and made[0] is base:
            return made[1]
        with self._lock:
            made = self._weighted.pop(key, None)
            # Of the same model, only the items have changed: the item weights of its moments go on.
            former = made[1] if made is not None and made[0].moments is base.moments else None
            serving = self._maker.weighted(base, multiplied(base.exponents, dict(weights)), former)
            self._weighted[key] = base, serving
            while len(self._weighted) > MAX_WEIGHTED:
                del self._weighted[next(iter(self._weighted))]
        return serving


def multiplied(exponents: Exponents, weights: Mapping[str, float]) -> Exponents:
    """Return exponents times what weights say, by the names of context weights and ``cosine``; others stay.

    Args:
        exponents: The exponents.
        weights: Finite and 0 or more. Of the cosine, a millionth stays at least.
    """

    def of_term(term: TermExponents) -> TermExponents:
        factors = {
            name: {factor: exponent * weights.get(name, 1.0) for factor, exponent in of_weight.items()}
            for name, of_weight in term.factors.items()
        }
        return TermExponents(term.cosine * max(weights.get(COSINE, 1.0), _MIN_COSINE), factors)

    return replace(exponents, unseen=of_term(exponents.unseen), seen=of_term(exponents.seen))


def _plan_of(steering: Steering) -> _Plan:
    needs = {each.name: _needs_of(each.variants) for each in steering.experiments}
    weights = {
        name: scenario.steering.weights for name, scenario in steering.scenarios.items() if scenario.steering.weights
    }
    return _Plan(steering, Assigner(steering.experiments), needs, weights, not needs and not weights)


def _needs_of(variants: Sequence[Variant]) -> _Needs:
    versions = frozenset(variant.model_version for variant in variants if variant.model_version)
    scenarios = frozenset(variant.scenario for variant in variants if variant.scenario)
    return _Needs(versions, scenarios, any(variant.weights for variant in variants))


def _product(all_weights: Sequence[Weights]) -> Weights:
    """Return weights multiplied by name, sorted, without those of 1."""
    product: dict[str, float] = {}
    for weights in all_weights:
        for name, weight in weights:
            product[name] = product.get(name, 1.0) * weight
    return tuple(sorted((name, weight) for name, weight in product.items() if weight != 1.0))
