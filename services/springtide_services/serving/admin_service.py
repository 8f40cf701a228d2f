"""AdminService: watching and controlling a running recommender."""

import asyncio

from springtide.errors import InvalidRequestError
from springtide.model.manifest import TRAINING_MODES, TrainingMode
from springtide.settings.model import Settings
from springtide.v1 import admin_pb2 as pb
from springtide_services.access.guard import actor_of
from springtide_services.serving.admin_answers import (
    MODE_NAMES,
    is_number,
    one_model,
    page_of_models,
    status_answer,
)
from springtide_services.serving.admin_parts import MAX_OPEN
from springtide_services.serving.admission import Admission
from springtide_services.serving.experiment_service import ExperimentService
from springtide_services.serving.statuses import Context, bounded, with_deadline_and_status
from springtide_services.serving.steering_service import SteeringService

_MAX_REASON = 1_000  # Characters.
_SHOWN = 40  # Characters of a wrong name that its refusal repeats.

_MODES: dict[int, TrainingMode | None] = {
    pb.TRAINING_MODE_UNSPECIFIED: None,
    **{pb.TrainingMode.Value(MODE_NAMES[mode]): mode for mode in TRAINING_MODES},
}


class AdminService(SteeringService, ExperimentService):
    """Watches and controls a running recommender.

    Args:
        settings: Gives the deadline.
    """

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self._statuses = Admission(MAX_OPEN)

    @with_deadline_and_status
    async def GetStatus(  # noqa: N802  # The proto's name.
        self, request: pb.GetStatusRequest, context: Context[pb.GetStatusRequest, pb.GetStatusResponse]
    ) -> pb.GetStatusResponse:
        """Return the status of the server."""
        with self._statuses.admit():  # Counted apart: who asks for the status is answered whatever else is open.
            return await asyncio.to_thread(status_answer, self.parts())

    @with_deadline_and_status
    @bounded
    async def ListModels(  # noqa: N802  # The proto's name.
        self, request: pb.ListModelsRequest, context: Context[pb.ListModelsRequest, pb.ListModelsResponse]
    ) -> pb.ListModelsResponse:
        """List a page of models, newest first."""
        return await asyncio.to_thread(page_of_models, self.parts().models, request)

    @with_deadline_and_status
    @bounded
    async def StartTraining(  # noqa: N802  # The proto's name.
        self, request: pb.StartTrainingRequest, context: Context[pb.StartTrainingRequest, pb.StartTrainingResponse]
    ) -> pb.StartTrainingResponse:
        """Write a checkpoint, and request a training on it."""
        loaded = self.parts()
        if request.mode not in _MODES:
            raise InvalidRequestError(
                "mode", f"no training mode {request.mode} (choices: {', '.join(pb.TrainingMode.keys())})"
            )
        checkpoint = await asyncio.to_thread(loaded.ingest.checkpoint_now)
        training = await asyncio.to_thread(loaded.trainings.ask, _MODES[request.mode], checkpoint.name)
        return pb.StartTrainingResponse(request_id=training.request_id, checkpoint=checkpoint.name)

    @with_deadline_and_status
    @bounded
    async def PromoteModel(  # noqa: N802  # The proto's name.
        self, request: pb.PromoteModelRequest, context: Context[pb.PromoteModelRequest, pb.PromoteModelResponse]
    ) -> pb.PromoteModelResponse:
        """Make a version the current one; this server serves it when the call returns."""
        loaded = self.parts()
        if not request.version:
            raise InvalidRequestError("version", "wanted a version that ListModels lists, got an empty string")
        reason = _reason_of(request)
        await asyncio.to_thread(loaded.follower.promote, request.version, actor=actor_of(context), reason=reason)
        return pb.PromoteModelResponse(model=await asyncio.to_thread(one_model, loaded.models, request.version))

    @with_deadline_and_status
    @bounded
    async def RollbackModel(  # noqa: N802  # The proto's name.
        self, request: pb.RollbackModelRequest, context: Context[pb.RollbackModelRequest, pb.RollbackModelResponse]
    ) -> pb.RollbackModelResponse:
        """Make the version before the current one current again; this server serves it when the call returns."""
        loaded = self.parts()
        reason = _reason_of(request)
        version = await asyncio.to_thread(loaded.follower.roll_back, actor=actor_of(context), reason=reason)
        return pb.RollbackModelResponse(model=await asyncio.to_thread(one_model, loaded.models, version))

    @with_deadline_and_status
    @bounded
    async def ServeRebuild(  # noqa: N802  # The proto's name.
        self, request: pb.ServeRebuildRequest, context: Context[pb.ServeRebuildRequest, pb.ServeRebuildResponse]
    ) -> pb.ServeRebuildResponse:
        """Begin to serve a rebuilt state."""
        if not is_number(request.rebuilt):
            raise InvalidRequestError(
                "rebuilt", f"wanted the name of a rebuilt checkpoint, got {request.rebuilt[:_SHOWN]!r}"
            )
        await asyncio.to_thread(self.parts().adoption.start, request.rebuilt)
        return pb.ServeRebuildResponse()


def _reason_of(request: pb.PromoteModelRequest | pb.RollbackModelRequest) -> str:
    """Return why somebody changes what serves, as they say it.

    Raises:
        InvalidRequestError: If it is too long.
    """
    if len(request.reason) > _MAX_REASON:
        raise InvalidRequestError("reason", f"wanted at most {_MAX_REASON:,} characters, got {len(request.reason):,}")
    return request.reason
