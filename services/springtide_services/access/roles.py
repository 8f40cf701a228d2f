"""Roles, and the methods that each may call: the one table of who may do what."""

from collections.abc import Mapping, Sequence
from enum import StrEnum


class Role(StrEnum):
    """What a token is for."""

    CLIENT = "client"
    EXPLAIN = "explain"
    PRODUCER = "producer"
    OPERATOR = "operator"
    ADMIN = "admin"


MEANINGS: Mapping[Role, str] = {
    Role.CLIENT: "asks for recommendations, lists and similar items",
    Role.EXPLAIN: "as client, asks why, for similar users and nodes, sees events, dead letters: who did what",
    Role.PRODUCER: "publishes events through the gateway (POST /v1/events)",
    Role.OPERATOR: "sees status, models, rules, experiments; starts trainings; publishes dead letters again",
    Role.ADMIN: "as operator, and decides what serves: promotes, rolls back, hands over rebuilt graphs, changes rules",
}

_ASKS = frozenset({Role.CLIENT, Role.EXPLAIN})
_OPERATES = frozenset({Role.OPERATOR, Role.ADMIN})
_SEES_USERS = frozenset({Role.EXPLAIN})
_RECOMMENDER, _ADMIN = "/springtide.v1.RecommenderService/", "/springtide.v1.AdminService/"
_INSPECTION = "/springtide.v1.InspectionService/"

# A method that is not here is refused to every token.
ROLES_OF: Mapping[str, frozenset[Role]] = {
    f"{_RECOMMENDER}Recommend": _ASKS,
    f"{_RECOMMENDER}SimilarItems": _ASKS,
    f"{_RECOMMENDER}RecommendBatch": _ASKS,
    f"{_RECOMMENDER}NextItems": _ASKS,
    f"{_RECOMMENDER}Trending": _ASKS,
    f"{_RECOMMENDER}NewItems": _ASKS,
    f"{_RECOMMENDER}Rank": _ASKS,
    f"{_RECOMMENDER}Explain": _SEES_USERS,
    f"{_RECOMMENDER}SimilarUsers": _SEES_USERS,
    f"{_ADMIN}GetStatus": _OPERATES,
    f"{_ADMIN}ListModels": _OPERATES,
    f"{_ADMIN}StartTraining": _OPERATES,
    f"{_ADMIN}PromoteModel": frozenset({Role.ADMIN}),
    f"{_ADMIN}RollbackModel": frozenset({Role.ADMIN}),
    f"{_ADMIN}ServeRebuild": frozenset({Role.ADMIN}),
    f"{_ADMIN}GetSteering": _OPERATES,
    f"{_ADMIN}ListSteeringChanges": _OPERATES,
    f"{_ADMIN}GetExperiment": _OPERATES,
    f"{_ADMIN}UpdateSteering": frozenset({Role.ADMIN}),
    f"{_INSPECTION}ListAttributes": _OPERATES | _SEES_USERS,
    f"{_INSPECTION}SearchNodes": _SEES_USERS,
    f"{_INSPECTION}GetNode": _SEES_USERS,
    f"{_INSPECTION}GetNeighbourhood": _SEES_USERS,
    f"{_INSPECTION}GetMap": _OPERATES,
    f"{_INSPECTION}GetSeason": _OPERATES,
    f"{_INSPECTION}ListInSeason": _OPERATES,
    f"{_INSPECTION}GetModel": _OPERATES,
    f"{_INSPECTION}ListModelChanges": _OPERATES,
    f"{_INSPECTION}GetQuality": _OPERATES,
}
PUBLISH, WATCH = "POST /v1/events", "GET /v1/events"
COUNT_LETTERS, READ_LETTERS = "GET /v1/dead-letters", "GET /v1/dead-letters?reason"
REPLAY_LETTERS = "POST /v1/dead-letters:replay"

# What the console answers itself, without the server; what is not here is refused to every token.
ROLES_OF_ROUTES: Mapping[str, frozenset[Role]] = {
    PUBLISH: frozenset({Role.PRODUCER}),
    WATCH: _SEES_USERS,
    COUNT_LETTERS: _OPERATES | _SEES_USERS,
    READ_LETTERS: _SEES_USERS,
    REPLAY_LETTERS: _OPERATES,
}
ACTOR_METADATA = "springtide-actor"
"""Metadata in which a client without a token says who it is: for audit logs, and for nothing else."""

OPEN = "/grpc.health.v1.Health/"  # For probes, which have no token; it says whether the server is ready, no more.


def choices(roles: Sequence[Role] | frozenset[Role]) -> str:
    """Return roles as a text, in the order in which they are declared."""
    return ", ".join(role for role in Role if role in roles)
