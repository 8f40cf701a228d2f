"""The call of the InspectionService about live quality: over time by version, and by segment."""

import asyncio

from springtide.v1 import inspection_pb2 as pb
from springtide_services.serving.admin_answers import quality_message
from springtide_services.serving.inspection.base import InspectionBase
from springtide_services.serving.live_quality import LiveQuality
from springtide_services.serving.response_translation import to_timestamp
from springtide_services.serving.statuses import Context, bounded, with_deadline_and_status


class QualityInspection(InspectionBase):
    """Answers GetQuality."""

    @with_deadline_and_status
    @bounded
    async def GetQuality(  # noqa: N802  # The proto's name.
        self, request: pb.GetQualityRequest, context: Context[pb.GetQualityRequest, pb.GetQualityResponse]
    ) -> pb.GetQualityResponse:
        """Return live quality over time and by segment."""
        return await asyncio.to_thread(quality_answer, self.parts().quality)


def quality_answer(quality: LiveQuality) -> pb.GetQualityResponse:
    """Return what was measured since the start of the server."""
    points, segments = quality.history()
    return pb.GetQualityResponse(
        points=[
            pb.QualityPoint(
                start_time=to_timestamp(point.start_ms),
                end_time=to_timestamp(point.end_ms),
                model_version=point.version,
                all=quality_message(point.all),
                new_to_user=quality_message(point.unseen),
            )
            for point in points
        ],
        segments=[
            pb.SegmentQuality(
                split=segment.split,
                segment=segment.segment,
                all=quality_message(segment.all),
                new_to_user=quality_message(segment.unseen),
            )
            for segment in segments
        ],
    )
