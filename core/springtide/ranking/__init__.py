"""Ranking: from a user and a moment to the ranked items.

Begin at ``query`` (what callers ask, and the answer) and ``ranker``. A request goes through ``binding`` (ids become
rows), ``users`` and ``moments`` (caches), ``scoring`` and ``top_k``. ``serving``
holds what is served: a model over the live items (``serving_model``, ``item_table``) or a baseline
(``serving_baseline``). ``lists`` ranks by something else: what rises, is new, or goes together (``together``).

The names below are imported when they are first used.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from springtide.ranking.query import Query, RankedItem, Ranking
    from springtide.ranking.ranker import Ranker
    from springtide.ranking.scoring import Scorer
    from springtide.ranking.serving_baseline import Served, ServingBaseline, load_served
    from springtide.ranking.serving_model import ServingModel
    from springtide.ranking.weights import make_context_weights

_MODULES = {
    "Query": "query",
    "RankedItem": "query",
    "Ranker": "ranker",
    "Ranking": "query",
    "Scorer": "scoring",
    "Served": "serving_baseline",
    "ServingBaseline": "serving_baseline",
    "ServingModel": "serving_model",
    "load_served": "serving_baseline",
    "make_context_weights": "weights",
}

__all__ = [
    "Query",
    "RankedItem",
    "Ranker",
    "Ranking",
    "Scorer",
    "Served",
    "ServingBaseline",
    "ServingModel",
    "load_served",
    "make_context_weights",
]


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_MODULES[name]}"), name)
