"""The promotion gate: decides whether a model may serve, by replaying the latest slice of the stream.

A training leaves out the latest slice at first. The candidate, as it was before it learned that slice, ranks the
interactions of the slice beside the champion (the model that serves) and the baselines. All are live: they rank each
interaction as of its own moment (``protocols.replay``). The candidate is promoted if it is not significantly worse than
the champion and its mean is not below that of the best baseline. The two models are asked all questions; a baseline no
more than it takes to be certain (``baseline_trials``).

The candidate's exponents were learned on a sample of the same slice. They are a dozen numbers learned from hundreds of
interactions or more, so this favours the candidate by less than the standard error. The candidate of a fine-tuning is
its base model on the present graph with new exponents, and that of a refit has new exponents only: each is judged by
what it changes.
"""

import functools
import math
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import structlog

from springtide.checkpoint import Checkpoint
from springtide.errors import SpringtideError
from springtide.evaluation.baseline_trials import BaselineScores, Rivals, ask_baselines
from springtide.evaluation.measures.metrics import K
from springtide.evaluation.measures.significance import Comparison, compare
from springtide.evaluation.protocols.contestants import Contestant
from springtide.evaluation.protocols.replay import ReplayResult, replay
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

CANDIDATE = "candidate"
CHAMPION = "champion"
_NUM_REFITS = 4  # Of each baseline during the replay: on a slice of weeks, a fit is never older than some days.
_DIGITS = 6
_NORMAL_95 = 1.96  # Standard errors on each side of a mean of many questions.


@dataclass(frozen=True, slots=True)
class Verdict:
    """The decision of the gate.

    Attributes:
        is_promoted: Whether the candidate may serve.
        reason: Why, in words.
        report: The details, for the model's manifest. ``verdict`` is ``promoted``, ``rejected`` or ``not judged``;
            ``reason`` as above. ``metric``, ``segment``, ``questions`` (ranked interactions), ``new_questions`` (those
            whose item was new to the user), ``after_ms`` and ``seconds`` describe the replay. ``contestants`` has the
            means of all interactions and of those with new items, of the ``questions`` that each was asked, and the
            candidate's ``difference`` from a baseline on these; ``error`` is half of the width of the 95 % interval of
            the mean of all.
            ``champion`` and ``best_baseline`` have the candidate's difference from them, on the questions that both
            were asked. ``fine_tune_gap`` is how far a fine-tuned champion is behind a candidate
            that was trained from scratch, as a share of the candidate's mean.
        baseline: Name of a baseline that is better than the candidate and the champion; None if there is none.
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
    """Judge a candidate on the interactions after everything that it and the champion have learned.

    If there are too few interactions since the champion's, the champion is left out. If there are too few since the
    candidate's, there is nothing to judge by, and the candidate is promoted.

    Args:
        state: All events; nobody may write to it meanwhile.
        candidate: A model that has not learned the latest interactions.
        champion: The version that serves; None if none does.
        settings: Settings of the gate and the context weights.
        plugins: Plugins that offer baselines and parts.
        on_progress: Called with the progress of the replay.
    """
    started = time.perf_counter()
    gate = settings.gate
    after_ms, num_events, left_out = _judged_slice(state, candidate, champion, gate)
    if num_events < gate.min_questions:
        return _not_judged(f"{num_events:,} interactions to judge by, fewer than {gate.min_questions:,}")
    models = _models(candidate, champion, plugins, left_out)
    result = replay(
        state,
        after_ms + 1,
        models,
        settings,
        plugins,
        num_questions=gate.num_questions,
        seed=settings.training.seed,
        num_refits=_NUM_REFITS,
        depth=K,
        keep_questions=True,
        on_progress=on_progress,
    )
    is_unseen_only = gate.segment == "new"
    num_judged = int(result.is_unseen.sum()) if is_unseen_only else len(result)
    if num_judged < gate.min_questions:
        return _not_judged(f"{num_judged:,} interactions with new items to judge by, fewer than {gate.min_questions:,}")
    scores = {name: result.ndcg(name, K, is_unseen_only=is_unseen_only) for name in result.ranks}
    against_champion = None
    if CHAMPION in scores:
        against_champion = compare(scores[CANDIDATE], scores[CHAMPION], seed=settings.training.seed)
    rivals = Rivals(
        result.is_unseen if is_unseen_only else np.ones(len(result), bool),
        is_unseen_only,
        scores[CANDIDATE],
        scores.get(CHAMPION),
        is_rejected=against_champion is not None and _p_worse(against_champion) < gate.significance,
        may_serve=CHAMPION not in left_out,
    )
    assert result.questions is not None, "they were to be kept"
    makers = {
        name: functools.partial(plugins.make, "baseline", PartSettings(name=name, options=options))
        for name, options in gate.baselines.items()
    }
    baselines, failures = ask_baselines(
        result.questions, makers, rivals, seed=settings.training.seed, on_progress=on_progress
    )
    verdict = _decide(rivals, against_champion, baselines, champion, candidate, left_out, settings.training.seed)
    details = {
        "metric": f"ndcg@{K}",
        "segment": gate.segment,
        "questions": len(result),
        "new_questions": int(result.is_unseen.sum()),
        "after_ms": after_ms,
        "contestants": _means(result, rivals, baselines),
        "left_out": {**left_out, **failures},
        "seconds": round(time.perf_counter() - started, 3),
    }
    logger.info("model_judged", verdict=verdict.report["verdict"], reason=verdict.reason, seconds=details["seconds"])
    return Verdict(verdict.is_promoted, verdict.reason, {**verdict.report, **details}, verdict.baseline)


def _judged_slice(
    state: LiveState, candidate: ModelArtifact, champion: ModelArtifact | None, gate: GateSettings
) -> tuple[int, int, dict[str, str]]:
    """Return the time after which interactions are judged, their number, and why the champion is left out, if it is."""
    times = state.positive_interactions(state.graph.view()).timestamps_ms
    after_ms = _newest_ms(candidate)
    num_events = _num_after(times, after_ms)
    if champion is None:
        return after_ms, num_events, {}
    after_both_ms = max(after_ms, _newest_ms(champion))
    num_after_both = _num_after(times, after_both_ms)
    if num_after_both < gate.min_questions <= num_events:
        reason = f"only {num_after_both:,} interactions came after those it has learned"
        return after_ms, num_events, {CHAMPION: reason}
    return after_both_ms, num_after_both, {}


def _models(
    candidate: ModelArtifact, champion: ModelArtifact | None, plugins: Plugins, left_out: dict[str, str]
) -> list[Contestant]:
    """Return the models that are replayed; a champion that cannot be loaded is added to ``left_out``."""
    models = [Contestant(CANDIDATE, load_served(candidate, plugins))]
    if champion is not None and not left_out:
        try:
            models.append(Contestant(CHAMPION, load_served(champion, plugins)))
        except SpringtideError as error:  # For example, a plugin that it was made with is gone.
            left_out[CHAMPION] = str(error)
    return models


def _p_worse(difference: Comparison) -> float:
    """Return the one-sided p-value: probability of falling at least this far behind by chance."""
    half = difference.p_value / 2
    return half if difference.difference < 0 else 1.0 - half


def _to_report(difference: Comparison) -> dict[str, float]:
    return {
        "difference": round(difference.difference, _DIGITS),
        "low": round(difference.low, _DIGITS),
        "high": round(difference.high, _DIGITS),
        "p_worse": round(_p_worse(difference), _DIGITS),
    }


def _in_words(difference: Comparison) -> str:
    return f"{difference.difference:+.4f} (95 % {difference.low:+.4f} to {difference.high:+.4f})"


def _decide(
    rivals: Rivals,
    against_champion: Comparison | None,
    baselines: Mapping[str, BaselineScores],
    champion: ModelArtifact | None,
    candidate: ModelArtifact,
    left_out: Mapping[str, str],
    seed: int,
) -> Verdict:
    """Decide, given the NDCG of each question that counts for the models, and what the baselines answered."""
    mean = float(rivals.candidate.mean())
    findings, faults = [f"NDCG@{K} {mean:.4f} on {len(rivals.candidate):,} questions"], []
    report: dict[str, Any] = {}
    if champion is not None and against_champion is not None:
        version = champion.manifest.version
        report["champion"] = {"version": version, **_to_report(against_champion)}
        findings.append(f"{_in_words(against_champion)} against {version}")
        if rivals.is_rejected:
            faults.append(f"worse than {version}, which serves")
        if candidate.manifest.training == "retrain" and vectors_by(champion) == "fine_tune" and mean > 0:
            report["fine_tune_gap"] = round(against_champion.difference / mean, _DIGITS)
    elif CHAMPION in left_out:
        findings.append(f"the model that serves is left out: {left_out[CHAMPION]}")
    best, serving = _best_of(baselines), None
    if best is not None:
        of_best = baselines[best]
        difference = compare(rivals.candidate[of_best.judged], of_best.judged_ndcg, seed=seed)
        report["best_baseline"] = {"name": best, **_to_report(difference)}
        asked = "" if len(of_best.judged) == len(rivals.candidate) else f", which was asked {len(of_best.judged):,}"
        findings.append(f"{_in_words(difference)} against the best baseline, {best}{asked}")
        if of_best.lead < 0:
            faults.append(f"behind {best}")
        is_best = (of_best.lead < 0 or rivals.is_rejected) and (rivals.champion is None or of_best.champion_lead < 0)
        serving = best if is_best and rivals.may_serve else None
    verdict: Literal["promoted", "rejected"] = "rejected" if faults else "promoted"
    reason = "; ".join([*faults, *findings])
    return Verdict(not faults, reason, {"verdict": verdict, "reason": reason, **report}, serving)


def _best_of(baselines: Mapping[str, BaselineScores]) -> str | None:
    """Return the best baseline; None if there is none.

    One that is ahead of the candidate goes before all others. Else those that were asked most were nearest to it.
    """

    def goodness(name: str) -> tuple[bool, bool, int, float]:
        scores = baselines[name]
        is_ahead = scores.lead < 0
        return is_ahead, is_ahead and scores.champion_lead < 0, len(scores.judged), float(scores.judged_ndcg.mean())

    return max((name for name, scores in baselines.items() if len(scores.judged)), key=goodness, default=None)


def vectors_by(artifact: ModelArtifact) -> str:
    """Return the training mode that made a model's vectors; a refit keeps the vectors of its base model."""
    manifest = artifact.manifest
    return str(manifest.graph_cut.get("vectors_by", manifest.training))


def fit_baseline(
    state: LiveState, name: str, settings: Settings, plugins: Plugins, checkpoint: Checkpoint | None = None
) -> ModelArtifact:
    """Return a baseline of the gate, fitted on all events, as a version for the model registry.

    Args:
        state: All events.
        name: One of ``settings.gate.baselines``.
        settings: Its options, under ``gate.baselines``.
        plugins: Plugins that offer it.
        checkpoint: The checkpoint that ``state`` was read from, for the manifest; None if there is none.
    """
    view = state.graph.view()
    interactions = state.positive_interactions(view)
    options = settings.gate.baselines[name]
    baseline: Baseline = plugins.make("baseline", PartSettings(name=name, options=options))
    baseline.fit(interactions, view.num_nodes(USER), view.num_nodes(state.rules.item_type))
    return baseline_artifact(name, options, baseline, view, interactions, settings, plugins, checkpoint=checkpoint)


def _not_judged(reason: str) -> Verdict:
    return Verdict(True, reason, {"verdict": "not judged", "reason": reason})


def _means(
    result: ReplayResult, rivals: Rivals, baselines: Mapping[str, BaselineScores]
) -> dict[str, dict[str, float]]:
    """Return each contestant's means and number of questions, and how far the candidate is ahead of baselines."""
    answers = {name: (result.ndcg(name, K), result.ndcg(name, K, is_unseen_only=True)) for name in result.ranks}
    answers |= {name: (scores.ndcg, scores.unseen_ndcg) for name, scores in baselines.items()}
    means: dict[str, dict[str, float]] = {}
    for name, (of_all, of_new) in answers.items():
        if len(of_all):
            means[name] = {"questions": len(of_all), "all": round(float(of_all.mean()), _DIGITS)}
            if len(of_all) > 1:
                error = _NORMAL_95 * float(of_all.std(ddof=1)) / math.sqrt(len(of_all))
                means[name]["error"] = round(error, _DIGITS)
        if len(of_new):  # Of those that were asked.
            means[name]["new"] = round(float(of_new.mean()), _DIGITS)
    for name, scores in baselines.items():
        if len(scores.judged):
            behind = float((rivals.candidate[scores.judged] - scores.judged_ndcg).mean())
            means[name]["difference"] = round(behind, _DIGITS)
    return means


def _newest_ms(artifact: ModelArtifact) -> int:
    """Return the time of the newest interaction that a model has learned, milliseconds."""
    return int(artifact.manifest.graph_cut["newest_ms"])


def _num_after(times: npt.NDArray[np.int64], after_ms: int) -> int:
    return int(len(times) - np.searchsorted(times, after_ms, side="right"))
