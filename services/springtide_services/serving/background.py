"""What a server does again and again beside its answers, in threads; without any of it, it can go on."""

import asyncio
import functools
from collections.abc import Callable

import structlog

from springtide.settings.model import Settings
from springtide_services.serving.first_training import FirstTraining
from springtide_services.serving.live_quality import ask_for_training
from springtide_services.serving.loading import Loaded
from springtide_services.stream.writer_role import WriterRole
from springtide_services.training.training_folder import TrainingFolder

logger = structlog.stdlib.get_logger(__name__)

_QUALITY_POLL_S = 1.0
_FORGETTING_POLL_S = 1.0
_FIRST_TRAINING_POLL_S = 0.25


def begin_repeats(
    settings: Settings,
    loaded: Loaded,
    trainings: TrainingFolder,
    role: WriterRole,
    needs_weights: Callable[[], bool],
) -> list[asyncio.Task[None]]:
    """Begin to keep up to date what is served, to ask for trainings, and to take deleted nodes out of the models.

    Args:
        settings: All settings.
        loaded: What is served.
        trainings: Where trainings are asked for.
        role: Whether this server writes: of several servers on one stream, one asks for trainings and forgets.
        needs_weights: Returns whether requests are answered, which need the item weights of their moment.

    Returns:
        The tasks, to be cancelled when the server stops.
    """
    first = FirstTraining(settings.training, lambda: loaded.answering.state, loaded.ingest, loaded.models, trainings)
    request_training = functools.partial(ask_for_training, loaded.quality, loaded.ingest.checkpoint_now, trainings)

    def as_writer(ask: Callable[[], object]) -> Callable[[], None]:
        def ask_if_writer() -> None:
            if role.is_writer:
                ask()

        return ask_if_writer

    repeats = (
        _repeat(
            "refresh_failed", lambda: loaded.refresh(for_requests=needs_weights()), settings.ranking.item_refresh_s
        ),
        _repeat("training_request_failed", as_writer(request_training), _QUALITY_POLL_S),
        _repeat("models_not_rewritten", as_writer(loaded.forgetting.run_if_due), _FORGETTING_POLL_S),
        _repeat("training_request_failed", as_writer(first.ask), _FIRST_TRAINING_POLL_S, lambda: first.is_done),
    )
    return [asyncio.create_task(each) for each in repeats]


async def _repeat(
    failure: str, do: Callable[[], object], every_s: float, is_over: Callable[[], bool] = lambda: False
) -> None:
    """Call a function in a thread again and again; a failure is logged, the first of several in a row only.

    Args:
        failure: Name of the event that is logged.
        do: The function; the server can go on without it.
        every_s: Seconds between two calls.
        is_over: Returns whether to call it no more.
    """
    is_failing = False
    while not is_over():
        await asyncio.sleep(every_s)
        try:
            await asyncio.to_thread(do)
            is_failing = False
        except Exception as error:
            if not is_failing:
                logger.error(failure, exc_info=error)
            is_failing = True
