"""The calls of the InspectionService about models: one version whole, and who changed what serves."""

import asyncio
import json
from collections.abc import Iterable

import structlog

from springtide.errors import ModelError
from springtide.model.audit import AuditEntry
from springtide.model.curves import Curve
from springtide.model.manifest import ModelManifest
from springtide.model.registry import ModelStore
from springtide.v1 import inspection_pb2 as pb
from springtide_services.serving.admin_answers import one_model, page_size_of
from springtide_services.serving.inspection.base import InspectionBase
from springtide_services.serving.request_limits import check_word
from springtide_services.serving.response_translation import to_timestamp
from springtide_services.serving.statuses import Context, NotFoundError, bounded, shown, with_deadline_and_status

logger = structlog.stdlib.get_logger(__name__)

_SHOWN = 20  # Versions that a refusal lists.


class ModelsInspection(InspectionBase):
    """Answers GetModel and ListModelChanges."""

    @with_deadline_and_status
    @bounded
    async def GetModel(  # noqa: N802  # The proto's name.
        self, request: pb.GetModelRequest, context: Context[pb.GetModelRequest, pb.GetModelResponse]
    ) -> pb.GetModelResponse:
        """Return a model version whole."""
        loaded = self.parts()
        check_word(request.version, "version", may_be_empty=True)
        version = request.version or loaded.follower.served_version
        if not version:
            raise ModelError("no model serves yet: name a version that ListModels lists")
        return await asyncio.to_thread(whole_model, loaded.models, version)

    @with_deadline_and_status
    @bounded
    async def ListModelChanges(  # noqa: N802  # The proto's name.
        self,
        request: pb.ListModelChangesRequest,
        context: Context[pb.ListModelChangesRequest, pb.ListModelChangesResponse],
    ) -> pb.ListModelChangesResponse:
        """List who promoted, rolled back or rejected which version, newest first."""
        page_size = page_size_of(request.page_size)
        entries = await asyncio.to_thread(self.parts().models.audit.entries, page_size)
        return pb.ListModelChangesResponse(changes=map(_change, reversed(entries)))


def whole_model(models: ModelStore, version: str) -> pb.GetModelResponse:
    """Return a version with all that the registry says of it.

    Raises:
        NotFoundError: If there is none of this name.
        ModelError: If its manifest cannot be read.
    """
    versions = models.versions()
    if version not in versions:
        choices = ", ".join(versions[:_SHOWN]) + (f" and {len(versions) - _SHOWN:,} more" * (len(versions) > _SHOWN))
        raise NotFoundError(f"no model version {version!r} (choices: {choices or 'none'})")
    manifest = models.manifest(version)
    cut = manifest.graph_cut
    newest_ms = cut.get("newest_ms")
    return pb.GetModelResponse(
        model=one_model(models, version),
        parts=[
            pb.ModelPart(
                kind=kind,
                name=part["name"],
                origin=part["origin"],
                options_json=json.dumps(part.get("options", {}), sort_keys=True),
            )
            for kind, part in sorted(manifest.parts.items())
        ],
        exponents=_exponents(manifest),
        curves=map(_curve, _curves_of(models, version)),
        gate=_gate(manifest),
        request_id=manifest.request_id,
        temperature=manifest.temperature,
        checkpoint=str(cut.get("checkpoint", "")),
        newest_event_time=to_timestamp(newest_ms) if isinstance(newest_ms, int) else None,
    )


def _curves_of(models: ModelStore, version: str) -> Iterable[Curve]:
    try:
        return models.curves(version)
    except ModelError as error:  # The model itself may be whole, and that is what matters.
        logger.warning("curves_not_read", version=version, error=str(error))
        return ()


def _curve(curve: Curve) -> pb.Curve:
    return pb.Curve(name=curve.name, step=curve.step, steps=curve.steps, values=curve.values)


def _exponents(manifest: ModelManifest) -> list[pb.Exponent]:
    return [
        pb.Exponent(
            weight=weight, factor=factor, value=value, error=manifest.exponent_errors.get(weight, {}).get(factor)
        )
        for weight, factors in manifest.exponents.items()
        for factor, value in factors.items()
    ]


def _gate(manifest: ModelManifest) -> list[pb.GateRow]:
    """Return the gate's table, the best first."""
    of_all = manifest.gate.get("questions", 0)  # Before baselines were asked in parts, all were asked all questions.
    rows = [
        pb.GateRow(
            name=name,
            ndcg_at_20=means["all"],
            error=means.get("error"),
            num_questions=means.get("questions", of_all),
        )
        for name, means in manifest.gate.get("contestants", {}).items()
    ]
    return sorted(rows, key=lambda row: -row.ndcg_at_20)


def _change(entry: AuditEntry) -> pb.ModelChange:
    return pb.ModelChange(
        change_time=to_timestamp(entry.time_ms),
        actor=entry.actor,
        action=entry.action,
        from_version=entry.from_version,
        to_version=entry.to_version,
        reason=shown(entry.reason),
    )
