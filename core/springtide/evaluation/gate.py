"""The promotion gate: whether a model may serve, by what it would have answered on the latest stretch of the stream.

A training leaves out the latest slice at first. The candidate, as it was before it learned the slice, is asked for
interactions of it beside the model that serves and the baselines, all of them live and as of each interaction's own
moment (``evaluation.replay``). It may serve if it is not significantly worse than the one that serves, and its mean is
not below that of the best baseline.

The exponents were learned on a sample of the same slice: a dozen numbers on hundreds of interactions or more, which
favours the candidate by less than chance does. A fine-tuning's candidate is the model that it went on from, over the
graph of now and with new exponents, and a refit's has new exponents alone: they are judged by what they change.
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import structlog

from springtide.checkpoint import Checkpoint
from springtide.errors import SpringtideError
from springtide.evaluation.measures.significance import Comparison, compare
from springtide.evaluation.protocols.replay import Contestant, Replayed, replay
from springtide.graph.applying import USER
from springtide.model.registry import ModelArtifact
from springtide.plugins.contracts import Baseline
from springtide.plugins.loading import Plugins
from springtide.ranking.baseline_artifact import baseline_artifact
from springtide.ranking.serving_baseline import load_served
from springtide.settings.model import GateSettings, PartSettings, Settings
from springtide.state import LiveState
from springtide.training.loop import OnProgress

logger = structlog.stdlib.get_logger(__name__)

K = 20
CANDIDATE = "candidate"
CHAMPION = "champion"
_NUM_REFITS = 4  # Of each baseline on the way: a slice of weeks is never more than some days ahead of its fit.
_DIGITS = 6

Scores = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the gate found.

    Attributes:
        is_promoted: Whether the candidate may serve.
        reason: Why, in words.
        report: All of it, for the model's manifest. ``verdict`` (``promoted``, ``rejected``, ``not judged``) and
            ``reason``; of what was asked ``metric``, ``segment``, ``questions``, ``new_questions``, ``after_ms``,
            ``seconds``; ``contestants`` with the means of all questions and of those about items new to their users;
            ``champion`` and ``best_baseline`` with the candidate's difference from them; ``fine_tune_gap``, how far, as
            a share, a fine-tuned champion is behind a candidate that is made from scratch.
        baseline: The baseline that is better than the candidate and than the model that serves; None if none is.
    """

    is_promoted: bool
    reason: str
    report: dict[str, Any]
    baseline: str | None = None


def judge(
    state: LiveState,
    candidate: ModelArtifact,
    champion: ModelArtifact | None,
    settings: Settings,
    plugins: Plugins,
    *,
    on_progress: OnProgress | None = None,
) -> Verdict:
    """Judge a candidate on what came after all that it and the champion have learned.

    Where too little came since the champion learned, the champion is left out; where too little came since the
    candidate did, nothing can be told, and it is promoted.

    Args:
        state: All events; nobody may write to it meanwhile.
        candidate: A model that has not learned the latest interactions.
        champion: The version that serves; None if none does.
        settings: The gate's, the context weights'.
        plugins: Where baselines and parts come from.
        on_progress: Told of the questions.
    """
    started = time.perf_counter()
    gate = settings.gate
    times = state.positive_interactions(state.graph.view()).timestamps_ms
    after_ms, left_out = _newest_ms(candidate), {}
    num_events = _num_after(times, after_ms)
    if champion is not None:
        num_since = _num_after(times, max(after_ms, _newest_ms(champion)))
        if num_since < gate.min_questions <= num_events:
            left_out[CHAMPION] = f"only {num_since:,} interactions came after what it has learned"
        else:
            after_ms, num_events = max(after_ms, _newest_ms(champion)), num_since
    if num_events < gate.min_questions:
        return _not_judged(f"{num_events:,} interactions to ask for, fewer than {gate.min_questions:,}")
    contestants = [Contestant(CANDIDATE, load_served(candidate, plugins))]
    if champion is not None and not left_out:
        try:
            contestants.append(Contestant(CHAMPION, load_served(champion, plugins)))
        except SpringtideError as error:  # A plugin that it was made with may be gone.
            left_out[CHAMPION] = str(error)
    contestants += [
        Contestant(name, plugins.make("baseline", PartSettings(name=name, options=options)))
        for name, options in gate.baselines.items()
    ]
    found = replay(
        state,
        after_ms + 1,
        contestants,
        settings,
        plugins,
        num_questions=gate.num_questions,
        seed=settings.training.seed,
        num_refits=_NUM_REFITS,
        on_progress=on_progress,
    )
    is_asked = found.is_new if gate.segment == "new" else np.ones(len(found), bool)
    if np.count_nonzero(is_asked) < gate.min_questions:
        num_asked = np.count_nonzero(is_asked)
        return _not_judged(f"{num_asked:,} interactions with new items to ask for, fewer than {gate.min_questions:,}")
    scores = {name: found.ndcg(name, K, is_new_only=gate.segment == "new") for name in found.ranks}
    verdict = _decide(scores, champion, candidate, left_out, gate, settings.training.seed)
    about = {
        "metric": f"ndcg@{K}",
        "segment": gate.segment,
        "questions": len(found),
        "new_questions": int(found.is_new.sum()),
        "after_ms": after_ms,
        "contestants": _means(found),
        "left_out": {**left_out, **found.failures},
        "seconds": round(time.perf_counter() - started, 3),
    }
    logger.info("model_judged", verdict=verdict.report["verdict"], reason=verdict.reason, seconds=about["seconds"])
    return Verdict(verdict.is_promoted, verdict.reason, {**verdict.report, **about}, verdict.baseline)


def _p_worse(difference: Comparison) -> float:
    """Return how likely chance alone would make the candidate fall behind as far: the one-sided p."""
    half = difference.p_value / 2
    return half if difference.difference < 0 else 1.0 - half


def _to_report(difference: Comparison) -> dict[str, float]:
    return {
        "difference": round(difference.difference, _DIGITS),
        "low": round(difference.low, _DIGITS),
        "high": round(difference.high, _DIGITS),
        "p_worse": round(_p_worse(difference), _DIGITS),
    }


def _words(difference: Comparison) -> str:
    return f"{difference.difference:+.4f} (95 % {difference.low:+.4f} to {difference.high:+.4f})"


def _decide(
    scores: Mapping[str, Scores],
    champion: ModelArtifact | None,
    candidate: ModelArtifact,
    left_out: Mapping[str, str],
    gate: GateSettings,
    seed: int,
) -> Verdict:
    """Decide, given float64 ``[n]`` for each contestant: what each question was worth."""
    ours = scores[CANDIDATE]
    mean = float(ours.mean())
    said, faults = [f"NDCG@{K} {mean:.4f} on {len(ours):,} questions"], []
    report: dict[str, Any] = {}
    if champion is not None and CHAMPION in scores:
        version = champion.manifest.version
        difference = compare(ours, scores[CHAMPION], seed=seed)
        report["champion"] = {"version": version, **_to_report(difference)}
        said.append(f"{_words(difference)} against {version}")
        if _p_worse(difference) < gate.significance:
            faults.append(f"worse than {version}, which serves")
        if candidate.manifest.training == "retrain" and vectors_by(champion) == "fine_tune" and mean > 0:
            report["fine_tune_gap"] = round(difference.difference / mean, _DIGITS)
    elif CHAMPION in left_out:
        said.append(f"the model that serves is left out: {left_out[CHAMPION]}")
    means = {name: float(of.mean()) for name, of in scores.items() if name in gate.baselines}
    best = max(means, key=lambda name: means[name], default=None)
    baseline = None
    if best is not None:
        difference = compare(ours, scores[best], seed=seed)
        report["best_baseline"] = {"name": best, **_to_report(difference)}
        said.append(f"{_words(difference)} against the best baseline, {best}")
        if mean < means[best]:
            faults.append(f"behind {best}")
            is_best = CHAMPION not in scores or float(scores[CHAMPION].mean()) < means[best]
            baseline = best if is_best and CHAMPION not in left_out else None
    verdict: Literal["promoted", "rejected"] = "rejected" if faults else "promoted"
    reason = "; ".join([*faults, *said])
    return Verdict(not faults, reason, {"verdict": verdict, "reason": reason, **report}, baseline)


def vectors_by(artifact: ModelArtifact) -> str:
    """Return which kind of training made a model's vectors; a refit keeps those of the model before."""
    manifest = artifact.manifest
    return str(manifest.graph_cut.get("vectors_by", manifest.training))


def fitted_baseline(
    state: LiveState, name: str, settings: Settings, plugins: Plugins, checkpoint: Checkpoint | None = None
) -> ModelArtifact:
    """Return a baseline of the gate, fitted on everything, as a version of the registry."""
    view = state.graph.view()
    interactions = state.positive_interactions(view)
    options = settings.gate.baselines[name]
    baseline: Baseline = plugins.make("baseline", PartSettings(name=name, options=options))
    baseline.fit(interactions, view.num_nodes(USER), view.num_nodes(state.rules.item_type))
    return baseline_artifact(name, options, baseline, view, interactions, settings, plugins, checkpoint=checkpoint)


def _not_judged(reason: str) -> Verdict:
    return Verdict(True, reason, {"verdict": "not judged", "reason": reason})


def _means(found: Replayed) -> dict[str, dict[str, float]]:
    means = {}
    for name in found.ranks:
        values = found.ndcg(name, K)
        means[name] = {"all": round(float(values.mean()), _DIGITS)}
        if found.is_new.any():
            means[name]["new"] = round(float(found.ndcg(name, K, is_new_only=True).mean()), _DIGITS)
    return means


def _newest_ms(artifact: ModelArtifact) -> int:
    return int(artifact.manifest.graph_cut["newest_ms"])


def _num_after(times: npt.NDArray[np.int64], after_ms: int) -> int:
    return int(len(times) - np.searchsorted(times, after_ms, side="right"))
