"""The calls of the AdminService by which owners see and change rules, scenarios and experiments."""

import asyncio

from springtide.errors import InvalidRequestError, SteeringChangedError, SteeringError
from springtide.steering.checks import checked
from springtide.steering.editing import Edit, changes_between, edited
from springtide.steering.values import Steering
from springtide.v1 import admin_pb2 as pb
from springtide_services.access.guard import actor_of
from springtide_services.serving.admin_answers import page_size_of, page_token, version_of
from springtide_services.serving.admin_parts import AdminBase, AdminDependencies
from springtide_services.serving.statuses import Context, bounded, with_deadline_and_status
from springtide_services.serving.steering_samples import compared, refuse_unanswerable, sample_queries
from springtide_services.serving.steering_translation import to_change_message, to_edit, to_message

_MAX_REASON = 1_000  # Characters.
_MAX_SAMPLES = 100


class SteeringService(AdminBase):
    """Sees and changes what steers."""

    @with_deadline_and_status
    @bounded
    async def GetSteering(  # noqa: N802  # The proto's name.
        self, request: pb.GetSteeringRequest, context: Context[pb.GetSteeringRequest, pb.GetSteeringResponse]
    ) -> pb.GetSteeringResponse:
        """Return the rules, scenarios and experiments that this server answers by."""
        steering = self.parts().steering.steering
        return await asyncio.to_thread(
            lambda: pb.GetSteeringResponse(steering=to_message(steering), version=steering.version)
        )

    @with_deadline_and_status
    @bounded
    async def UpdateSteering(  # noqa: N802  # The proto's name.
        self,
        request: pb.UpdateSteeringRequest,
        context: Context[pb.UpdateSteeringRequest, pb.UpdateSteeringResponse],
    ) -> pb.UpdateSteeringResponse:
        """Change what steers, all or none; this server answers by it when the call returns."""
        if len(request.reason) > _MAX_REASON:
            raise InvalidRequestError(
                "reason", f"wanted at most {_MAX_REASON:,} characters, got {len(request.reason):,}"
            )
        if len(request.samples) > _MAX_SAMPLES:
            raise InvalidRequestError("samples", f"wanted at most {_MAX_SAMPLES}, got {len(request.samples):,}")
        answer = _dry_run if request.dry_run else _update
        return await asyncio.to_thread(answer, self.parts(), request, actor_of(context))

    @with_deadline_and_status
    @bounded
    async def ListSteeringChanges(  # noqa: N802  # The proto's name.
        self,
        request: pb.ListSteeringChangesRequest,
        context: Context[pb.ListSteeringChangesRequest, pb.ListSteeringChangesResponse],
    ) -> pb.ListSteeringChangesResponse:
        """List a page of changes, newest first."""
        return await asyncio.to_thread(_page_of_changes, self.parts(), request)


def _update(loaded: AdminDependencies, request: pb.UpdateSteeringRequest, actor: str) -> pb.UpdateSteeringResponse:
    if loaded.steering.is_from_file:
        raise SteeringError(
            "rules, scenarios and experiments come from a file (setting steering.file): change that file; its changes "
            "hold within a second"
        )
    edit = to_edit(request)
    warnings: list[str] = []

    def choose(steering: Steering) -> Steering:
        after, warnings[:] = _edited(loaded, steering, edit, request.version)
        return after

    steering, changes = loaded.steering.change(choose, actor=actor, reason=request.reason)
    return pb.UpdateSteeringResponse(version=steering.version, changes=changes, warnings=warnings)


def _dry_run(loaded: AdminDependencies, request: pb.UpdateSteeringRequest, actor: str) -> pb.UpdateSteeringResponse:
    before = loaded.steering.steering
    after, warnings = _edited(loaded, before, to_edit(request), request.version)
    changes = changes_between(before, after)
    queries = sample_queries(loaded.state, request.samples, before, after) if changes else []
    return pb.UpdateSteeringResponse(
        version=before.version,
        changes=changes,
        samples=compared(loaded.ranker, queries, before, after),
        warnings=warnings,
    )


def _edited(loaded: AdminDependencies, steering: Steering, edit: Edit, version: int) -> tuple[Steering, list[str]]:
    """Return what an edit makes of a steering, checked, and what may be a mistake in it.

    Raises:
        SteeringChangedError: If the request is about another version.
        InvalidRequestError: If it makes no sense.
    """
    if version and version != steering.version:
        raise SteeringChangedError(
            f"version {version} was to be changed, and it is {steering.version} now: look at it again, and repeat"
        )
    known = loaded.steering.known()
    after, warnings = checked(edited(steering, edit), known)
    if known.schema is not None:
        refuse_unanswerable(loaded.state, loaded.ranker, steering, after)
    return after, warnings


def _page_of_changes(
    loaded: AdminDependencies, request: pb.ListSteeringChangesRequest
) -> pb.ListSteeringChangesResponse:
    page_size = page_size_of(request.page_size)
    before = int(version_of(request.page_token)) if request.page_token else None
    changes = loaded.steering.store.changes(page_size + 1, before)
    page = changes[:page_size]
    return pb.ListSteeringChangesResponse(
        changes=map(to_change_message, page),
        next_page_token=page_token(str(page[-1].version)) if len(changes) > page_size else "",
    )
