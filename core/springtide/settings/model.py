"""Settings: one frozen tree, from a TOML file with environment overrides; unknown keys are refused."""

from typing import Annotated, Any, Literal, NoReturn, TypeVar

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from springtide.settings.interaction_rules import InteractionRules

Value = TypeVar("Value")


class FrozenDict(dict[str, Value]):
    """A dict that refuses to be changed: settings are shared between threads and processes."""

    def _refuse(self, *_: Any, **__: Any) -> NoReturn:
        raise TypeError("settings are frozen: make new ones with model_copy(update=...)")

    __setitem__ = __delitem__ = __ior__ = clear = pop = popitem = setdefault = update = _refuse

    def __reduce__(self) -> tuple[type, tuple[dict[str, Value]]]:
        return type(self), (dict(self),)


Positive = Annotated[float, Field(gt=0)]
Table = Annotated[dict[str, Value], AfterValidator(FrozenDict)]
Options = Table[Any]


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)


class KafkaSettings(_Section):
    """Where the events come from.

    An empty ``bootstrap_servers`` means: ``springtide up`` starts the embedded broker, which forgets all on exit.
    """

    bootstrap_servers: str = ""
    topic: str = "springtide.events"
    dead_letter_topic: str = "springtide.dead-letters"
    num_partitions: Annotated[int, Field(ge=1)] = 4
    poll_timeout_ms: Annotated[int, Field(ge=1)] = 50
    # Kafka answers a waiting fetch as soon as an event is there (500 is fine there); the embedded broker waits it out.
    fetch_max_wait_ms: Annotated[int, Field(ge=1)] = 10
    max_poll_records: Annotated[int, Field(ge=1)] = 5_000
    client_options: Options = {}  # Passed to kafka-python as they are: security_protocol, sasl_*, ssl_*.


class EventSettings(_Section):
    """What is refused at the door."""

    max_future_s: Positive = 86_400.0
    max_id_bytes: Annotated[int, Field(ge=1)] = 256
    max_text_bytes: Annotated[int, Field(ge=1)] = 16_384
    max_event_bytes: Annotated[int, Field(ge=64)] = 1_000_000
    max_context_entries: Annotated[int, Field(ge=0)] = 64


class InteractionSettings(_Section):
    """How one kind of interaction enters the graph: see ``springtide.settings.interaction_rules``."""

    weight: Positive = 1.0
    positive: bool = True


class GraphSettings(_Section):
    """Bounds of the live graph's memory (``None`` means no bound), and what is recommended.

    ``item_type`` is the node type on the other side of interactions. With ``user`` the graph is a social one: events
    carry user ids as item ids, and whom to follow is recommended.
    """

    item_type: Literal["item", "user"] = "item"
    max_edges: Annotated[int, Field(ge=1)] | None = 50_000_000
    max_age_days: Positive | None = None


class CheckpointSettings(_Section):
    """Where and when the graph and its offsets are written; ``url`` is a folder or an fsspec URL."""

    url: str = "springtide-state/checkpoints"
    every_s: Positive = 60.0
    every_events: Annotated[int, Field(ge=1)] = 500_000
    keep: Annotated[int, Field(ge=1)] = 3


class PartSettings(_Section):
    """A part by name, with its own options."""

    name: str
    options: Options = {}


def _as_part(written: Any) -> Any:
    """Let a part be written as its name alone, and several aggregators as a list of names."""
    if isinstance(written, str):
        return {"name": written}
    if isinstance(written, list | tuple):
        return {"name": "several", "options": {"of": list(written)}}
    return written


Part = Annotated[PartSettings, BeforeValidator(_as_part)]


class TaskSettings(PartSettings):
    """A task beside link prediction: which, with what options, and how much its loss counts beside the main one.

    ``batch`` is how many examples each step of the training looks at.
    """

    weight: Positive = 0.1
    batch: Annotated[int, Field(ge=1)] = 256


class ModelSettings(_Section):
    """What a model is made of, and where models are kept; ``url`` is a folder or an fsspec URL.

    Without an ``aggregator`` the encoder gets the one that suits it. ``id_dropout`` is the share of nodes whose learned
    id a training step leaves out, so that attributes and neighbours learn to speak for nodes that have none.
    """

    url: str = "springtide-state/models"
    keep: Annotated[int, Field(ge=2)] = 10
    width: Annotated[int, Field(ge=2, le=4096)] = 64
    num_layers: Annotated[int, Field(ge=1, le=8)] = 2
    encoder: Part = PartSettings(name="lightgcn")
    aggregator: Part | None = None
    loss: Part = PartSettings(name="reconstruction")
    negatives: Part = PartSettings(name="popularity")
    tasks: Table[TaskSettings] = {}
    id_dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0


class TrainingSettings(_Section):
    """How and when models are trained. Rates are per step of Adam; a training on an unchanged graph is not made."""

    retrain_every_s: Positive | None = 86_400.0
    retrain_after_events: Annotated[int, Field(ge=1)] | None = 1_000_000
    fine_tune_every_s: Positive | None = 3_600.0
    fine_tune_after_events: Annotated[int, Field(ge=1)] | None = 100_000
    refit_every_s: Positive | None = 900.0  # Learns the exponents anew, and leaves the vectors as they are.
    refit_after_events: Annotated[int, Field(ge=1)] | None = 20_000
    min_refit_events: Annotated[int, Field(ge=50)] = 1_000  # About a hundred for each exponent: fewer are chance.
    min_interactions: Annotated[int, Field(ge=1)] = 100
    steps: Annotated[int, Field(ge=1)] = 400
    fine_tune_steps: Annotated[int, Field(ge=1)] = 40
    min_passes: Annotated[float, Field(ge=0)] = 2.0  # Over all users, even if that takes more steps.
    batch_users: Annotated[int, Field(ge=1)] = 512
    edges_per_user: Annotated[int, Field(ge=1)] = 64
    num_negatives: Annotated[int, Field(ge=1)] = 4_096
    learning_rate: Positive = 0.02
    weight_decay: Annotated[float, Field(ge=0)] = 0.0
    rating_types: tuple[str, ...] = ("rating",)  # Interaction types whose value is a rating (a purchase's is a count).
    edge_half_life_days: Positive | None = 120.0
    sampling_half_life_days: Positive | None = None  # Neighbours are drawn by age (``Edges.sample``), or uniformly.
    positive_half_life_days: Positive | None = 90.0  # How fast an interaction stops being drawn as a positive.
    exponent_slice: Annotated[float, Field(gt=0, lt=0.5)] = 0.07  # The latest share; more if that tells little.
    live_exponents: bool = True  # Learned with features of each moment, as served; or frozen at the slice's start.
    replay_ratio: Annotated[float, Field(ge=0)] = 1.0  # Replayed old interactions for each recent one in fine-tuning.
    max_fine_tune_gap: Positive = 0.02  # The share that fine-tuning may fall behind; then the next one is full.
    device: str = "cpu"
    num_threads: Annotated[int, Field(ge=1)] | None = None
    niceness: Annotated[int, Field(ge=0, le=19)] = 10
    seed: int = 0


class GateSettings(_Section):
    """Which models may serve: see ``springtide.evaluation.gate``.

    ``baselines``, by name with their options, are what a model must not fall behind. ``num_questions`` of the latest
    interactions are asked for; fewer than ``min_questions`` tell nothing, and then a model is promoted unseen. A model
    is rejected as worse than the one that serves if that is as unlikely to be chance as ``significance`` says, on
    interactions of the ``segment``: all, or those with items that were new to their users.
    """

    is_on: bool = True
    baselines: Table[Options] = {
        name: {} for name in ("recent_popularity", "decayed_own_counts", "tifu_knn", "item_knn")
    }
    num_questions: Annotated[int, Field(ge=2)] = 1_000
    min_questions: Annotated[int, Field(ge=2)] = 200
    significance: Annotated[float, Field(gt=0, lt=0.5)] = 0.05
    segment: Literal["all", "new"] = "all"


class RankingSettings(_Section):
    """How items are ranked; context weights by name, each with its options."""

    context_weights: Table[Options] = {
        name: {} for name in ("popularity", "calendar", "trend", "repeat", "reorder", "place", "weather")
    }
    item_groups: tuple[str, ...] = ("department", "category", "type", "genre")  # Coarse to fine; those that exist.
    max_history: Annotated[int, Field(ge=1)] = 5_000
    item_refresh_s: Positive = 1.0


class ServerSettings(_Section):
    """The gRPC server."""

    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65_535)] = 50_051
    reflection: bool = True
    max_deadline_s: Positive = 10.0
    max_batch: Annotated[int, Field(ge=1)] = 32
    num_threads: Annotated[int, Field(ge=1)] | None = None


class LiveQualitySettings(_Section):
    """How a server measures itself on the stream: see ``springtide_services.serving.live_quality``.

    Of the positive interactions that come in, at most ``max_events_per_s`` are first asked for: 0 switches it off.
    Quality is that of the last ``window`` questions. A version that loses more than the share ``max_drop`` of the NDCG
    that its first window had asks for a training, once; None asks for none.
    """

    max_events_per_s: Annotated[float, Field(ge=0)] = 5.0
    window: Annotated[int, Field(ge=10)] = 1_000
    max_drop: Annotated[float, Field(gt=0, lt=1)] | None = 0.2


class LogSettings(_Section):
    """What processes log to standard error, and in which form.

    ``auto`` writes coloured lines for people where standard error is a terminal, and JSON elsewhere.
    """

    format: Literal["auto", "text", "json"] = "auto"
    level: Literal["debug", "info", "warning", "error"] = "info"


class PluginSettings(_Section):
    """Plugins beside those that come in by entry point; ``on_error`` says whether one that fails stops the others."""

    modules: tuple[str, ...] = ()
    folder: str | None = None
    on_error: Literal["refuse", "skip"] = "refuse"


class Settings(_Section):
    """Everything that can be set."""

    kafka: KafkaSettings = KafkaSettings()
    events: EventSettings = EventSettings()
    interactions: Table[InteractionSettings] = {
        "purchase": InteractionSettings(),
        "click": InteractionSettings(weight=0.3),
        "view": InteractionSettings(weight=0.1),
        "rating>=4": InteractionSettings(),
        "rating": InteractionSettings(positive=False),
        "dislike": InteractionSettings(positive=False),
    }
    graph: GraphSettings = GraphSettings()
    checkpoint: CheckpointSettings = CheckpointSettings()
    model: ModelSettings = ModelSettings()
    training: TrainingSettings = TrainingSettings()
    ranking: RankingSettings = RankingSettings()
    gate: GateSettings = GateSettings()
    server: ServerSettings = ServerSettings()
    live_quality: LiveQualitySettings = LiveQualitySettings()
    plugins: PluginSettings = PluginSettings()
    log: LogSettings = LogSettings()

    def interaction_rules(self) -> InteractionRules:
        """Return the interaction rules, in the order of the settings."""
        return InteractionRules.from_mapping(
            {name: (rule.weight, rule.positive) for name, rule in self.interactions.items()}, self.graph.item_type
        )
