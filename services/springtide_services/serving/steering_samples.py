"""How the answers to some requests would change under other rules, scenarios and experiments."""

from collections.abc import Iterable, Sequence
from dataclasses import replace

from springtide.clock import wall_ms
from springtide.errors import InvalidRequestError
from springtide.graph.applying import USER
from springtide.graph.view import GraphView
from springtide.interactions import Moment
from springtide.ranking.query import Query
from springtide.ranking.ranker import Ranker
from springtide.state import LiveState
from springtide.steering.values import NO_STEERING, QuerySteering, Steering
from springtide.v1 import admin_pb2 as pb
from springtide.v1 import recommender_pb2
from springtide_services.serving.request_limits import DEFAULT_COUNT
from springtide_services.serving.request_translation import to_as_of, to_query

_NUM_USERS = 20  # Enough to see what a change does, and few enough to wait for.
_NUM_EDGES = 5_000  # So many of the latest of each type are looked through for users.
_MAX_SCENARIOS = 4  # Of those that change, so many are asked for.


def sample_queries(
    state: LiveState, requests: Sequence[recommender_pb2.RecommendRequest], before: Steering, after: Steering
) -> list[Query]:
    """Return the queries of some requests, or of users who did something lately, as far as there are any.

    Those users are asked for without a scenario, and with each scenario that changes or that a changed rule is for.

    Args:
        state: The live state.
        requests: The requests; none for such users.
        before: What steers.
        after: What would.

    Raises:
        InvalidRequestError: If a request is wrong.
    """
    queries = []
    for number, request in enumerate(requests):
        try:
            queries.append(to_query(request, to_as_of(request.context, state.clock, wall_ms())))
        except InvalidRequestError as error:
            raise InvalidRequestError(f"samples[{number}].{error.field}", error.message) from error
    if requests:
        return queries
    moment = Moment(state.clock.read(wall_ms()).timestamp_ms)
    scenarios = _changed_scenarios(before, after)[:_MAX_SCENARIOS]
    for user_id in recent_users(state.graph.view(), _NUM_USERS // (1 + len(scenarios))):
        queries.append(Query(moment, user_id, count=DEFAULT_COUNT))
        queries += [
            Query(moment, user_id, count=DEFAULT_COUNT, steering=QuerySteering(scenario=name, says_count=False))
            for name in scenarios
        ]
    return queries


def refuse_unanswerable(state: LiveState, ranker: Ranker, before: Steering, after: Steering) -> None:
    """Try what each scenario that changes says, as if a request said it: what is not there is refused before it holds.

    Later, when an attribute or a reranker has gone, requests that name the scenario are answered without.

    Args:
        state: The live state.
        ranker: Ranks over it.
        before: What steers.
        after: What would.

    Raises:
        InvalidRequestError: If a scenario names what is not there, such as a reranker; its field is ``scenarios.NAME``.
    """
    moment = Moment(state.clock.read(wall_ms()).timestamp_ms)
    for name, scenario in after.scenarios.items():
        if before.scenarios.get(name) != scenario:
            said = Query(moment, count=1, exclude_seen=scenario.exclude_seen, steering=scenario.steering)
            try:
                ranker.recommend([said], steering=NO_STEERING)
            except InvalidRequestError as error:
                raise InvalidRequestError(f"scenarios.{name}.{error.field}", error.message) from error


def compared(ranker: Ranker, queries: Sequence[Query], before: Steering, after: Steering) -> list[pb.SteeredSample]:
    """Return how the answers to some queries change; where a scenario is missing, it is as if none were named.

    Raises:
        InvalidRequestError: If a query names something unknown.
    """
    answers = zip(queries, _answers(ranker, queries, before), _answers(ranker, queries, after), strict=True)
    return [
        pb.SteeredSample(user=query.user_id, before=now, after=then, scenario=_scenario_of(query))
        for query, now, then in answers
    ]


def recent_users(view: GraphView, count: int) -> list[str]:
    """Return users who did something last, the latest first."""
    latest: dict[int, int] = {}  # By user, when.
    for edge_type in view.edge_types:
        if edge_type[0] == USER:
            edges = view.edges(edge_type)
            rows, _, times_ms, _, _ = edges.part(max(0, len(edges) - _NUM_EDGES), len(edges))
            for row, timestamp_ms in zip(rows.tolist(), times_ms.tolist(), strict=True):
                latest[row] = max(timestamp_ms, latest.get(row, timestamp_ms))
    ids = view.nodes(USER).ids
    users = (ids.id(row) for row in sorted(latest, key=lambda row: (-latest[row], row)))
    return [user for user, _ in zip(filter(None, users), range(count), strict=False)]


def _answers(ranker: Ranker, queries: Sequence[Query], steering: Steering) -> Iterable[Sequence[str]]:
    known = [
        replace(query, steering=replace(query.steering, scenario=""))
        if query.steering is not None and _scenario_of(query) not in ("", *steering.scenarios)
        else query
        for query in queries
    ]
    return [ranking.items.ids for ranking in ranker.recommend(known, steering=steering)]


def _changed_scenarios(before: Steering, after: Steering) -> list[str]:
    names = before.scenarios.keys() | after.scenarios.keys()
    changed = {name for name in names if before.scenarios.get(name) != after.scenarios.get(name)}
    for rule in set(before.rules) ^ set(after.rules):
        changed.update(rule.scenarios)
    return sorted(changed)


def _scenario_of(query: Query) -> str:
    return "" if query.steering is None else query.steering.scenario
