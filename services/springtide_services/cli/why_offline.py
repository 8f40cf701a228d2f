"""`explain --offline`: the answer of a server from a checkpoint, with neighbours explained by PyTorch Geometric."""

from dataclasses import replace
from pathlib import Path

from springtide.clock import wall_ms
from springtide.errors import ModelError
from springtide.explaining.templates import Languages
from springtide.explaining.why import why
from springtide.model.registry import ModelStore
from springtide.plugins.loading import load_checked_plugins
from springtide.ranking.ranker import Ranker
from springtide.ranking.serving_model import ServingModel
from springtide.settings.model import Settings
from springtide.training.masked_influence import masked_influences
from springtide.v1 import recommender_pb2 as pb
from springtide_services.cli.season_charts import state_of
from springtide_services.cli.why_tables import Answer
from springtide_services.serving import request_translation
from springtide_services.serving.explanations import to_explain_response, to_wanted


def by_checkpoint(settings: Settings) -> Answer:
    """Return what answers from the newest checkpoint and the model that serves; live steering is not looked at.

    It is made as a server makes it, but for the neighbours: their influence is that of
    ``training.masked_influence``, and all are there, however long it takes.

    Raises:
        ModelError: When it is asked: if there is no model, or a baseline serves.
        CheckpointError: When it is asked: if there is no checkpoint yet.
        InvalidRequestError: When it is asked: if the item, or something that the request names, is unknown.
    """

    def answer(request: pb.ExplainRequest) -> pb.ExplainResponse:
        champion = ModelStore(settings.model.url).load_champion()
        if champion is None:
            raise ModelError(f"no model yet at {settings.model.url}")
        artifact = champion.artifact
        if artifact.manifest.training == "baseline":
            raise ModelError(f"version {artifact.manifest.version} is a baseline, which folds in nobody's neighbours")
        plugins = load_checked_plugins(settings)
        state = state_of(settings, None)
        ranker = Ranker(state, settings.ranking)
        ranker.swap(ServingModel.from_artifact(artifact, plugins))
        as_of = request_translation.to_as_of(request.context, state.clock, wall_ms())
        item, query = request_translation.to_item(request), request_translation.to_explain_query(request, as_of)
        words = settings.explain
        languages = Languages(Path(words.templates) if words.templates else None, words.language)
        scorer = ranker.scorer()
        found = why(scorer, query, item, to_wanted(request, languages, words.name_attribute))
        bound, row = scorer.bind(query), scorer.items.ids.row(item)
        neighbours = masked_influences(scorer, bound, row, artifact, plugins)
        return to_explain_response(replace(found, neighbours=neighbours), as_of)

    return answer
