"""The promotion gate: which models are promoted, which are rejected, and the report."""

import dataclasses
import functools
import json
import subprocess
import sys
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pytest

from springtide.evaluation.gate import Verdict, judge
from springtide.model.registry import ModelArtifact
from springtide.plugins.contracts import Baseline, History, Observed
from springtide.plugins.loading import Plugins, load_plugins
from springtide.settings.model import PluginSettings, Settings
from springtide.state import LiveState
from springtide.testing import even_odd_state, quick_settings
from springtide.training.train import train

PLUGINS = load_plugins(PluginSettings())
GATE = {"min_questions": 30, "baselines": {"popularity": {}}}


def test_the_gate_imports_nothing_that_only_evaluations_need() -> None:
    # Every training waits for these imports: scipy.stats alone takes a second.
    command = (
        "import sys\n"
        "sys.modules['pandas'] = None  # Where it is installed, torch_geometric imports it, and it pyarrow.\n"
        "import springtide.evaluation.gate\n"
        "print(*({'scipy.stats', 'pyarrow'} & sys.modules.keys()))"
    )
    found = subprocess.run([sys.executable, "-c", command], capture_output=True, text=True, check=True)
    assert found.stdout.split() == []


class Oracle(Baseline):
    """Knows that even users take even items and odd users odd ones, whatever is new to them first."""

    def fit(self, interactions: Observed, num_users: int, num_items: int) -> None:
        self.num_items = num_items

    def scores(
        self, user_rows: npt.NDArray[np.int64], histories: Sequence[History], now_ms: int
    ) -> npt.NDArray[np.float32]:
        items = np.arange(self.num_items)
        scores = (items % 2 == user_rows[:, None] % 2).astype(np.float32)
        for of_user, history in zip(scores, histories, strict=True):
            of_user[history.item_rows] = -1.0
        return scores


class Half(Oracle):
    """Knows it of even users alone."""

    def scores(
        self, user_rows: npt.NDArray[np.int64], histories: Sequence[History], now_ms: int
    ) -> npt.NDArray[np.float32]:
        scores = super().scores(user_rows, histories, now_ms)
        scores[user_rows % 2 == 1] *= -1.0
        return scores


@functools.cache
def trained() -> tuple[Settings, LiveState, ModelArtifact, ModelArtifact]:
    """Settings, a state, the candidate of a training on it, and the model."""
    settings = quick_settings(gate=GATE)
    state = even_odd_state(24, settings, PLUGINS)
    candidates: list[ModelArtifact] = []
    model = train(state, settings, PLUGINS, mode="retrain", on_candidate=candidates.append)
    return settings, state, candidates[0], model


def version_of(artifact: ModelArtifact, version: str = "000007", **changes: object) -> ModelArtifact:
    manifest = dataclasses.replace(artifact.manifest, version=version, **changes)  # type: ignore[arg-type]  # By name.
    return dataclasses.replace(artifact, manifest=manifest)


def spoilt(artifact: ModelArtifact) -> ModelArtifact:
    """Return a model whose users point the other way."""
    tensors = {**artifact.tensors, "vectors": artifact.tensors["vectors"].copy()}
    tensors["levels"] = -artifact.tensors["levels"][:, ::-1]
    tensors["vectors"] = artifact.tensors["vectors"][::-1].copy()
    return dataclasses.replace(artifact, tensors=tensors)


def judged(
    candidate: ModelArtifact | None = None,
    champion: ModelArtifact | None = None,
    plugins: Plugins = PLUGINS,
    **gate: object,
) -> Verdict:
    settings, state, of_training, _ = trained()
    settings = settings.model_copy(update={"gate": settings.gate.model_copy(update=gate)})
    return judge(state, candidate or of_training, champion, settings, plugins)


def test_making_the_candidate_does_not_change_the_training() -> None:
    settings, state, candidate, model = trained()
    plain = train(state, settings, PLUGINS, mode="retrain")
    assert all(np.array_equal(model.tensors[name], tensor) for name, tensor in plain.tensors.items())
    assert not np.array_equal(candidate.tensors["vectors"], model.tensors["vectors"])


def test_the_candidate_knows_nothing_of_the_slice() -> None:
    _, state, candidate, _ = trained()
    times = state.positive_interactions(state.graph.view()).timestamps_ms
    cut = candidate.manifest.graph_cut
    assert cut["newest_ms"] == times[cut["num_interactions"] - 1] < times[-1]
    assert candidate.tensors["num_interactions"].sum() == cut["num_interactions"] < len(times)


def test_the_first_model_is_promoted_when_it_beats_the_baselines() -> None:
    verdict = judged()
    means = verdict.report["contestants"]
    assert verdict.is_promoted
    assert means["candidate"]["all"] > means["popularity"]["all"]
    assert verdict.report["best_baseline"]["name"] == "popularity"
    assert means["candidate"]["questions"] == verdict.report["questions"] == 66
    assert means["popularity"]["questions"] < 66, "it is far behind"
    assert verdict.reason.endswith(f"the best baseline, popularity, which was asked {means['popularity']['questions']}")
    assert "champion" not in verdict.report
    assert json.loads(json.dumps(verdict.report, allow_nan=False)) == verdict.report


def test_a_model_as_good_as_the_champion_is_promoted() -> None:
    *_, candidate, _ = trained()
    verdict = judged(champion=version_of(candidate))
    assert verdict.is_promoted
    champion = verdict.report["champion"]
    assert (champion["version"], champion["difference"], champion["p_worse"]) == ("000007", 0.0, 0.5)


def test_a_model_worse_than_the_champion_is_rejected_with_the_numbers() -> None:
    *_, candidate, _ = trained()
    verdict = judged(spoilt(candidate), version_of(candidate), baselines={})
    assert (verdict.is_promoted, verdict.report["verdict"]) == (False, "rejected")
    assert verdict.reason.startswith("worse than 000007, which serves; NDCG@20 0.")
    assert verdict.report["champion"]["high"] < 0 < 0.05 > verdict.report["champion"]["p_worse"]


def test_a_baseline_that_is_near_is_asked_all_questions() -> None:
    plugins = PLUGINS.with_part("baseline", "oracle", Oracle)
    verdict = judged(plugins=plugins, baselines={"oracle": {}})
    means = verdict.report["contestants"]
    assert means["oracle"]["questions"] == 66
    assert verdict.report["best_baseline"]["difference"] == pytest.approx(
        means["candidate"]["all"] - means["oracle"]["all"], abs=2e-6
    )


def test_a_model_behind_a_baseline_is_rejected_and_the_baseline_named() -> None:
    plugins = PLUGINS.with_part("baseline", "oracle", Oracle)
    verdict = judged(plugins=plugins, baselines={"popularity": {}, "oracle": {}})
    assert not verdict.is_promoted
    assert verdict.reason.startswith("behind oracle; ")
    assert verdict.baseline == "oracle"


def test_no_baseline_takes_the_place_of_a_champion_that_beats_it() -> None:
    *_, candidate, _ = trained()
    plugins = PLUGINS.with_part("baseline", "half", Half)
    verdict = judged(spoilt(candidate), version_of(candidate), plugins, baselines={"half": {}})
    means = verdict.report["contestants"]
    assert means["candidate"]["all"] < means["half"]["all"] < means["champion"]["all"]
    assert (verdict.is_promoted, verdict.baseline) == (False, None)


def test_with_too_few_interactions_the_model_is_promoted() -> None:
    verdict = judged(min_questions=1_000)
    assert verdict.is_promoted
    assert verdict.report == {
        "verdict": "not judged",
        "reason": "66 interactions to judge by, fewer than 1,000",
    }


def test_a_champion_that_has_seen_the_slice_is_left_out_with_the_reason() -> None:
    *_, model = trained()
    verdict = judged(champion=version_of(model))
    assert verdict.is_promoted
    assert verdict.report["left_out"] == {"champion": "only 0 interactions came after those it has learned"}
    assert "popularity" in verdict.report["contestants"]


def test_a_champion_that_cannot_be_loaded_is_left_out_with_the_reason() -> None:
    *_, candidate, _ = trained()
    damaged = dataclasses.replace(version_of(candidate), tensors={})
    verdict = judged(champion=damaged)
    assert verdict.is_promoted
    assert "does not fit its own manifest" in verdict.report["left_out"]["champion"]


def test_the_gap_of_fine_tuning_is_what_a_retraining_gains_over_it() -> None:
    *_, candidate, _ = trained()
    tuned = version_of(spoilt(candidate), training="fine_tune")
    verdict = judged(champion=tuned)
    gained = verdict.report["champion"]["difference"] / verdict.report["contestants"]["candidate"]["all"]
    assert verdict.report["fine_tune_gap"] == pytest.approx(gained, abs=1e-4)
    assert verdict.report["fine_tune_gap"] > 0.02
    cut = {**tuned.manifest.graph_cut, "vectors_by": "fine_tune"}
    refitted = version_of(tuned, training="refit", graph_cut=cut)
    assert judged(champion=refitted).report["fine_tune_gap"] == verdict.report["fine_tune_gap"]
    assert "fine_tune_gap" not in judged(champion=version_of(candidate)).report


def test_new_items_alone_decide_where_settings_say_so() -> None:
    assert judged(segment="new").report["segment"] == "new"
