"""The call of the AdminService that says what an experiment has brought."""

import asyncio

from springtide.errors import InvalidRequestError
from springtide.steering.results import DEFAULT_CONFIDENCE, VariantResult, result_of
from springtide.steering.values import Experiment
from springtide.v1 import admin_pb2 as pb
from springtide_services.serving.admin_parts import AdminBase, AdminDependencies
from springtide_services.serving.statuses import Context, NotFoundError, bounded, with_deadline_and_status
from springtide_services.serving.steering_translation import experiment_message

_MAX_NAME_BYTES = 256
_SHOWN = 20  # Names of experiments that a refusal lists.


class ExperimentService(AdminBase):
    """Says what experiments have brought."""

    @with_deadline_and_status
    @bounded
    async def GetExperiment(  # noqa: N802  # The proto's name.
        self, request: pb.GetExperimentRequest, context: Context[pb.GetExperimentRequest, pb.GetExperimentResponse]
    ) -> pb.GetExperimentResponse:
        """Return what each variant has brought until now."""
        loaded = self.parts()
        confidence = request.confidence or DEFAULT_CONFIDENCE
        return await asyncio.to_thread(_result, loaded, _named(loaded, request.name), confidence)


def _result(loaded: AdminDependencies, experiment: Experiment, confidence: float) -> pb.GetExperimentResponse:
    result = result_of(experiment, loaded.state.tallies, loaded.state.rules, confidence)
    return pb.GetExperimentResponse(
        experiment=experiment_message(experiment), variants=map(_variant, result.variants), winner=result.winner
    )


def _variant(result: VariantResult) -> pb.VariantResult:
    (rate_low, rate_high), (difference_low, difference_high) = result.rate_interval, result.difference_interval
    return pb.VariantResult(
        variant=result.variant,
        num_users=result.tally.num_users,
        num_converted=result.tally.num_converted,
        num_impressions=result.tally.num_impressions,
        num_conversions=result.tally.num_conversions,
        rate=result.rate,
        rate_low=rate_low,
        rate_high=rate_high,
        difference=result.difference,
        difference_low=difference_low,
        difference_high=difference_high,
        p_value=result.p_value,
    )


def _named(loaded: AdminDependencies, name: str) -> Experiment:
    if not name or len(name.encode()) > _MAX_NAME_BYTES:
        raise InvalidRequestError("name", f"wanted the name of an experiment, 1 to {_MAX_NAME_BYTES} bytes")
    experiments = loaded.steering.steering.experiments
    found = next((each for each in experiments if each.name == name), None)
    if found is None:
        names = [each.name for each in experiments]
        choices = ", ".join(names[:_SHOWN]) + (f" and {len(names) - _SHOWN:,} more" if len(names) > _SHOWN else "")
        raise NotFoundError(f"no experiment {name!r} (choices: {choices or 'none'})")
    return found
