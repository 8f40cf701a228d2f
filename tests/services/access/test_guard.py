"""The guard: which token is good for which method, how often, and what that costs."""

import time

import grpc
import pytest

from springtide.settings.model import TokenSettings
from springtide.v1 import admin_pb2, inspection_pb2, recommender_pb2
from springtide_services.access.guard import Guard, Refusal
from springtide_services.access.limits import Failures, RequestRates
from springtide_services.access.roles import ROLES_OF, Role
from springtide_services.access.tokens import Token, make_token

RECOMMEND = "/springtide.v1.RecommenderService/Recommend"
MAY = {
    "Recommend": {"client", "explain"},
    "SimilarItems": {"client", "explain"},
    "RecommendBatch": {"client", "explain"},
    "NextItems": {"client", "explain"},
    "Trending": {"client", "explain"},
    "NewItems": {"client", "explain"},
    "Rank": {"client", "explain"},
    "SimilarUsers": {"explain"},
    "Explain": {"explain"},
    "GetStatus": {"operator", "admin"},
    "ListModels": {"operator", "admin"},
    "StartTraining": {"operator", "admin"},
    "PromoteModel": {"admin"},
    "RollbackModel": {"admin"},
    "ServeRebuild": {"admin"},
    "GetSteering": {"operator", "admin"},
    "UpdateSteering": {"admin"},
    "ListSteeringChanges": {"operator", "admin"},
    "GetExperiment": {"operator", "admin"},
    "ListAttributes": {"operator", "admin", "explain"},
    "SearchNodes": {"explain"},
    "GetNode": {"explain"},
    "GetNeighbourhood": {"explain"},
    "GetMap": {"operator", "admin"},
    "GetSeason": {"operator", "admin"},
    "ListInSeason": {"operator", "admin"},
    "GetModel": {"operator", "admin"},
    "ListModelChanges": {"operator", "admin"},
    "GetQuality": {"operator", "admin"},
}


def guard_of(*kept: Token, requests_per_s: float | None = None) -> Guard:
    return Guard(TokenSettings(lines=tuple(token.to_line() for token in kept), requests_per_s=requests_per_s))


def outcome(guard: Guard, method: str, *metadata: tuple[str, str]) -> str:
    found = guard.admit(method, metadata)
    return f"{found.code.name} {found.reason}" if isinstance(found, Refusal) else "OK"


def test_each_method_is_for_its_roles_and_what_is_not_listed_is_for_none() -> None:
    methods = {
        f"/{service.full_name}/{method.name}"
        for file in (recommender_pb2.DESCRIPTOR, admin_pb2.DESCRIPTOR, inspection_pb2.DESCRIPTOR)
        for service in file.services_by_name.values()
        for method in service.methods
    }
    assert methods == ROLES_OF.keys(), "a new method needs its roles"
    for role in Role:
        shown, kept = make_token("shop", (role,), 0)
        guard = guard_of(kept)
        for method in methods:
            wanted = "OK" if role in MAY[method.rpartition("/")[2]] else "PERMISSION_DENIED ROLE_MISSING"
            assert outcome(guard, method, ("authorization", f"Bearer {shown}")) == wanted
        for method in ("/springtide.v1.AdminService/DropAll", "/a.b/C", ""):
            assert outcome(guard, method, ("api-key", shown)) == "PERMISSION_DENIED ROLE_MISSING"


def test_a_token_is_read_from_both_kinds_of_metadata_and_must_be_whole() -> None:
    shown, kept = make_token("shop", (Role.CLIENT,), 0)
    guard = guard_of(kept)
    assert outcome(guard, RECOMMEND, ("user-agent", "x"), ("authorization", f"bearer  {shown}")) == "OK"
    assert outcome(guard, RECOMMEND, ("api-key", shown)) == "OK"
    assert outcome(guard, RECOMMEND) == "UNAUTHENTICATED TOKEN_MISSING"
    assert outcome(guard, RECOMMEND, ("authorization", "Basic abc")) == "UNAUTHENTICATED TOKEN_MISSING"
    _, other = make_token("app", (Role.CLIENT,), 0)
    wrong = f"springtide_{other.id}_{shown.rpartition('_')[2]}"
    for text in ("", shown[:-1], shown + "0", shown.upper(), wrong, kept.sha256, f"springtide_{kept.id}_{kept.sha256}"):
        assert outcome(guard, RECOMMEND, ("api-key", text)) == "UNAUTHENTICATED TOKEN_UNKNOWN"


def test_an_ended_token_says_so_only_to_who_has_it() -> None:
    shown, kept = make_token("shop", (Role.CLIENT,), 0, expires_ms=1)
    guard = guard_of(kept)
    assert outcome(guard, RECOMMEND, ("api-key", shown)) == "UNAUTHENTICATED TOKEN_ENDED"
    assert outcome(guard, RECOMMEND, ("api-key", f"springtide_{kept.id}_{'0' * 64}")) == "UNAUTHENTICATED TOKEN_UNKNOWN"


def test_requests_beyond_a_tokens_rate_are_refused_with_a_time_to_wait() -> None:
    shown, kept = make_token("shop", (Role.CLIENT,), 0)
    fast, kept_fast = make_token("app", (Role.CLIENT,), 0, requests_per_s=1_000_000.0)
    guard = guard_of(kept, kept_fast, requests_per_s=0.001)
    assert outcome(guard, RECOMMEND, ("api-key", shown)) == "OK"
    refused = guard.admit(RECOMMEND, (("api-key", shown),))
    assert isinstance(refused, Refusal)
    assert refused.code == grpc.StatusCode.RESOURCE_EXHAUSTED
    assert refused.retry_s == pytest.approx(1_000, rel=0.1)
    assert outcome(guard, RECOMMEND, ("api-key", fast)) == "OK", "its own rate goes before that of all"
    assert guard.failures.num == 0


def test_bucket_fills_evenly_and_holds_a_second() -> None:
    rates = RequestRates()
    assert [rates.wait_s("a", 2.0, 0.0) for _ in range(3)] == [0.0, 0.0, 0.5]
    assert rates.wait_s("a", 2.0, 0.5) == 0.0
    assert rates.wait_s("a", 2.0, 0.5) == 0.5
    assert [rates.wait_s("a", 2.0, 99.0) for _ in range(3)] == [0.0, 0.0, 0.5]
    assert rates.wait_s("b", 0.5, 99.0) == 0.0


def test_failures_of_a_peer_wait_ever_longer_and_are_forgotten() -> None:
    failures = Failures()
    waits = [failures.note("a", 0.0)[1] for _ in range(100)]
    assert waits[:5] == [0.0] * 5
    assert waits == sorted(waits)
    assert max(waits) == 1.0
    assert failures.note("b", 0.0) == (1, 0.0)
    assert failures.note("a", 3_600.0)[1] == 0.0
    for number in range(20_000):
        failures.note(str(number), 0.0)
    assert len(failures._of_peer) == 10_000
    assert failures.num == 20_102


def test_a_good_token_takes_few_microseconds() -> None:
    shown, kept = make_token("shop", (Role.CLIENT,), 0)
    others = [make_token("app", (Role.CLIENT,), 0)[1] for _ in range(1_000)]
    guard = guard_of(kept, *others, requests_per_s=1e9)
    metadata = (("user-agent", "grpc-python/1.85"), ("te", "trailers"), ("authorization", f"Bearer {shown}"))
    best_s = float("inf")
    for _ in range(20):
        started_s = time.thread_time()
        for _ in range(500):
            guard.admit(RECOMMEND, metadata)
        best_s = min(best_s, (time.thread_time() - started_s) / 500)
    assert best_s < 20e-6
    print(f"{best_s * 1e6:.1f} µs")
