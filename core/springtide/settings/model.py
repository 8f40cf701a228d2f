"""Settings: one frozen tree of sections; unknown keys are refused."""

from springtide.settings.interaction_rules import InteractionRules
from springtide.settings.sections.base import FrozenDict, Part, PartSettings, Section, Table
from springtide.settings.sections.learning import GateSettings, ModelSettings, TaskSettings, TrainingSettings
from springtide.settings.sections.serving import (
    ExplainSettings,
    LiveQualitySettings,
    LogSettings,
    PluginSettings,
    RankingSettings,
    ServerSettings,
    SteeringSettings,
    TlsSettings,
    TokenSettings,
)
from springtide.settings.sections.stream import (
    AttributeKind,
    CheckpointSettings,
    EventSettings,
    GraphSettings,
    InteractionSettings,
    KafkaSettings,
)
from springtide.settings.sections.watching import ConsoleSettings, MetricsSettings, TracingSettings

__all__ = [
    "AttributeKind",
    "CheckpointSettings",
    "ConsoleSettings",
    "EventSettings",
    "ExplainSettings",
    "FrozenDict",
    "GateSettings",
    "GraphSettings",
    "InteractionSettings",
    "KafkaSettings",
    "LiveQualitySettings",
    "LogSettings",
    "MetricsSettings",
    "ModelSettings",
    "Part",
    "PartSettings",
    "PluginSettings",
    "RankingSettings",
    "ServerSettings",
    "Settings",
    "SteeringSettings",
    "TaskSettings",
    "TlsSettings",
    "TokenSettings",
    "TracingSettings",
    "TrainingSettings",
]


class Settings(Section):
    """Everything that can be set."""

    kafka: KafkaSettings = KafkaSettings()
    events: EventSettings = EventSettings()
    interactions: Table[InteractionSettings] = {
        "purchase": InteractionSettings(),
        "click": InteractionSettings(weight=0.3),
        "view": InteractionSettings(weight=0.1),
        "rating>=4": InteractionSettings(),
        "rating<=2": InteractionSettings(positive=False),
        "rating": InteractionSettings(positive=False, feedback="neutral"),
        "dislike": InteractionSettings(positive=False),
        "impression": InteractionSettings(weight=0.1, positive=False, feedback="shown"),
    }
    """Interactions that are accepted, each a table: an interaction type (`purchase`), or a type with a bound on its
    value (`"rating>=4"`). The first that matches an event takes it; an event whose type is not listed is refused. A
    list in a file replaces the default one, so name all that you use."""
    attributes: Table[Table[AttributeKind]] = {}
    """Kinds of attributes that are fixed: `category`, `number`, `text` or `vector`, by attribute, in a table for each
    node type (`[attributes.item]`, `price = "number"`). A value of another kind is refused, and the rest of its event
    is taken. An attribute that is not listed has the kind that most of its nodes have: values of other kinds are
    reported as dead letters, and hidden until most nodes have theirs. List the attributes that filters and
    `ranking.item_groups` use."""
    graph: GraphSettings = GraphSettings()
    checkpoint: CheckpointSettings = CheckpointSettings()
    model: ModelSettings = ModelSettings()
    training: TrainingSettings = TrainingSettings()
    ranking: RankingSettings = RankingSettings()
    gate: GateSettings = GateSettings()
    server: ServerSettings = ServerSettings()
    steering: SteeringSettings = SteeringSettings()
    explain: ExplainSettings = ExplainSettings()
    live_quality: LiveQualitySettings = LiveQualitySettings()
    plugins: PluginSettings = PluginSettings()
    console: ConsoleSettings = ConsoleSettings()
    metrics: MetricsSettings = MetricsSettings()
    tracing: TracingSettings = TracingSettings()
    log: LogSettings = LogSettings()

    def interaction_rules(self) -> InteractionRules:
        """Return the interaction rules, in the order of the settings."""
        return InteractionRules.from_mapping(
            {name: (rule.weight, rule.feedback_of(name)) for name, rule in self.interactions.items()},
            self.graph.item_type,
        )
