"""What a server serves: the restored state and all that runs on it, made once, before anything is started."""

import functools
import gc
from dataclasses import dataclass
from pathlib import Path

import structlog

from springtide import expressions
from springtide.checkpoint import CheckpointStore
from springtide.checkpoint.fallback import restore_newest
from springtide.checkpoint.lock_holder import LockHolder
from springtide.clock import wall_ms
from springtide.model.registry import ModelStore
from springtide.plugins.guarding import Guards
from springtide.plugins.loading import Plugins, load_serving_plugins
from springtide.ranking.indexing import index_maker
from springtide.ranking.ranker import Ranker
from springtide.ranking.reordering.shortlists import make_rerankers
from springtide.ranking.serving_baseline import forget_users_by, load_served
from springtide.ranking.weights import make_context_weights
from springtide.settings.model import Settings
from springtide.state import LiveState, StateSnapshot
from springtide.steering.store import SteeringStore
from springtide_services.logs import log_plugins
from springtide_services.serving.adoption import Answering, batcher_of
from springtide_services.serving.forgetting import ModelForgetting
from springtide_services.serving.live_quality import LiveQuality
from springtide_services.serving.steering_follower import SteeringFollower
from springtide_services.serving.variant_follower import VariantFollower
from springtide_services.serving.version_follower import VersionFollower
from springtide_services.stream.ingest import IngestLoop
from springtide_services.stream.journal import Journal
from springtide_services.stream.journaled_topics import JournaledTopics
from springtide_services.stream.writer_role import WriterRole

logger = structlog.stdlib.get_logger(__name__)


@dataclass(slots=True)
class Loaded:
    """What ``load`` makes.

    Attributes:
        answering: The state that is served, and what answers from it; replaced as one when a rebuilt state comes.
        ingest: Reads the stream into the state, and writes the checkpoints.
        follower: Serves the registry's current version.
        steering: Serves the newest rules, scenarios and experiments.
        variants: Serves the model versions that experiments name.
        models: The model registry.
        quality: Measures the answers by the events that come.
        plugins: The plugins that the server runs on.
        guards: What the plugins' calls are bounded by.
        is_restored: Whether a checkpoint was restored.
        checkpoints: The checkpoints.
        forgetting: Takes deleted nodes out of the models.
    """

    answering: Answering
    ingest: IngestLoop
    follower: VersionFollower
    steering: SteeringFollower
    variants: VariantFollower
    models: ModelStore
    quality: LiveQuality
    plugins: Plugins
    guards: Guards
    is_restored: bool
    checkpoints: CheckpointStore
    forgetting: ModelForgetting

    def note_deletions(self, written: StateSnapshot) -> None:
        """Note the deletions of a checkpoint that is durable."""
        if written.tombstones is not None:
            self.forgetting.note(written.num_forgotten, written.tombstones.copied())

    def refresh(self, *, for_requests: bool) -> None:
        """Bring what is served up to date; for requests, the item weights of their moment too, now and soon."""
        answering = self.answering
        now_ms = answering.state.clock.read(wall_ms()).timestamp_ms if for_requests else None
        answering.ranker.refresh(now_ms)


def load(settings: Settings, role: WriterRole, skip_lost: bool) -> Loaded:
    """Take the lock if the role allows it, restore the newest whole checkpoint, and make what runs on it, unstarted.

    Args:
        settings: All settings.
        role: Whether this server writes the checkpoints; begun here.
        skip_lost: Whether to skip events that are lost when the stream is first opened, and to accept another topic.

    Raises:
        PluginError, SettingsError: As ``load_serving_plugins`` does.
        CheckpointLockedError: As ``WriterRole.begin`` does.
        CheckpointError: As ``restore_newest`` does.
    """
    guards = Guards(settings.plugins.max_call_s)
    plugins = load_serving_plugins(settings, guards)
    log_plugins(plugins)
    role.begin(on_wait=_log_wait)  # Before the newest checkpoint is read: nobody else may write another one after that.
    checkpoints = CheckpointStore(settings.checkpoint.url, settings.checkpoint.keep, role.lock)
    restored = restore_newest(
        checkpoints,
        lambda: LiveState(settings, make_context_weights(settings.ranking, plugins)),
        sets_aside=role.is_writer,
    )
    state, checkpoint, applied = restored.state, restored.checkpoint, restored.applied
    if checkpoint is not None:
        logger.info("checkpoint_restored", checkpoint=checkpoint.name, events=checkpoint.num_events)
        if applied:
            logger.info("settings_applied", checkpoint=checkpoint.name, changes=applied)
        if state.lacking:
            logger.warning("rebuild_advised", checkpoint=checkpoint.name, reasons=state.lacking)
    rerankers = make_rerankers(settings.ranking, plugins)
    ranker = Ranker(state, settings.ranking, index_maker(settings.ranking, plugins), rerankers=rerankers)
    models = ModelStore(settings.model.url, settings.model.keep)
    load_model = functools.partial(load_served, plugins=plugins)
    expressions.prepare()
    # What is loaded by now stays for good: a full garbage collection that looked at it would take 0.2 s each time.
    gc.collect()
    gc.freeze()
    follower = VersionFollower(models, load_model, ranker.swap)
    forgetting = ModelForgetting(models, follower, forget_users_by(plugins), settings.model.forget_every_s)
    if checkpoint is not None:
        forgetting.note(state.graph.num_forgotten, state.graph.tombstones.snapshot())
    return Loaded(
        answering=Answering(state, ranker, batcher_of(ranker, settings, guards)),
        ingest=IngestLoop(
            settings,
            state,
            checkpoints,
            skip_lost=skip_lost,
            decoders=plugins.make_decoders(settings.events),
            lost_position=restored.lost_position,
            journal=_open_journal(settings, checkpoints) if role.is_writer else None,
            role=role,
        ),
        follower=follower,
        steering=SteeringFollower(SteeringStore.of(settings), models, state, ranker, settings.steering.file),
        variants=VariantFollower(models, load_model, ranker),
        models=models,
        quality=LiveQuality(settings.live_quality, ranker, state),
        plugins=plugins,
        guards=guards,
        is_restored=checkpoint is not None,
        checkpoints=checkpoints,
        forgetting=forgetting,
    )


def _open_journal(settings: Settings, checkpoints: CheckpointStore) -> JournaledTopics | None:
    """Open the journal of the settings; the lock of the checkpoints is ours."""
    if not settings.checkpoint.journal:
        return None
    return JournaledTopics(settings.kafka, Journal(Path(settings.checkpoint.journal)), checkpoints)


def _log_wait(former: LockHolder, at_most_s: float) -> None:
    logger.warning("waiting_for_checkpoint_lock", holder=former.describe(wall_ms()), at_most_s=at_most_s)
