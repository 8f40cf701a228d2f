"""Sections about the stream: Kafka, events, interactions, the live graph, checkpoints."""

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from springtide.settings.interaction_rules import Feedback, feedback_of
from springtide.settings.sections.base import Options, Positive, Section, Table

AttributeKind = Literal["category", "number", "text", "vector"]


def _as_text(written: Any) -> Any:
    """Let several servers be written as a list, too."""
    is_list = isinstance(written, list | tuple) and all(isinstance(server, str) for server in written)
    return ",".join(written) if is_list else written


class KafkaSettings(Section):
    """The Kafka cluster that events come from."""

    bootstrap_servers: Annotated[str, BeforeValidator(_as_text)] = ""
    """Brokers to connect to first, as `host:port`, separated by commas or as a list. If empty, `springtide up` starts
    an embedded broker, which loses all events when it stops; commands that need a broker refuse to start."""
    topic: str = "springtide.events"
    """Topic that events are read from. It is created if it does not exist. If it exists, the rights to read and
    describe it are enough."""
    dead_letter_topic: str = "springtide.dead-letters"
    """Topic that refused records are written to, with the reason in a header. It is created when the first record is
    refused."""
    on_dead_letter_failure: Literal["wait", "file", "count"] = "wait"
    """What happens when a refused record cannot be written to `dead_letter_topic`, such as for want of a right. `wait`
    reads no further until it can, so that no record is lost. `file` appends the record to `dead_letter_file`, and reads
    on. `count` counts it in the status, and reads on; the record is then in `topic` alone."""
    dead_letter_file: str = "springtide-state/dead-letters.jsonl"
    """Local file for `on_dead_letter_failure = "file"`: a JSON object per line, with key and value in base64. It grows
    without limit. If it cannot be written either, the stream waits."""
    on_lost: Literal["stop", "skip"] = "stop"
    """What happens when the broker no longer has the next events: retention has removed them, or the topic was
    recreated. `stop` reads no further. `skip` keeps the graph, reads on where each partition begins, and notes the gap
    in the log, the status and the checkpoints; of a recreated topic it reads everything, and if the topic is missing it
    waits for it. It also skips records that are damaged in the broker's log; with `stop` their partition waits, and the
    others are read on. `springtide serve --skip-lost` does this once, and also if `topic` now names another topic."""
    on_failure: Literal["serve", "exit"] = "serve"
    """What the server does when the stream has ended for it, such as by lost events that are not skipped. `serve`
    answers from the graph as it is, reports NOT_SERVING for the health service `stream`, and says why in the status; a
    server that starts so, or finds no broker for 10 seconds, answers from the newest checkpoint. `exit` ends the
    process with an error, for setups in which a supervisor must see it; restarted, it ends again until the reason is
    gone."""
    max_lag_events: Annotated[int, Field(ge=0)] | None = 100_000
    """Most events that the graph may be behind the topic for the health service `stream` to report SERVING. The health
    of the server as a whole is not changed by it. `none` allows any number."""
    group_id: str = "springtide-{host}-{port}"
    """Consumer group that the offsets are committed to after each checkpoint, so that Kafka's tools show the lag. They
    are never read back. `{host}` is the host name and `{port}` is `server.port`: each server needs a group of its own.
    If empty, nothing is committed."""
    num_partitions: Annotated[int, Field(ge=1)] = 4
    """Number of partitions of `topic` when Springtide creates it. An existing topic keeps its own number."""
    poll_timeout_ms: Annotated[int, Field(ge=1)] = 50
    """Longest wait of one poll for new records, in milliseconds. Higher values save CPU while the stream is quiet, and
    make checkpoints and shutdown wait longer."""
    fetch_max_wait_ms: Annotated[int, Field(ge=1)] | Literal["auto"] = "auto"
    """Longest time in milliseconds that a broker holds a fetch while it has no records. `auto` is 500 with Apache
    Kafka, which answers once a record arrives, and 10 with the embedded broker, which always waits to the end; 50 there
    once no event has come for a second."""
    max_poll_records: Annotated[int, Field(ge=1)] = 5_000
    """Most records that one poll returns, and so most records that enter the graph in one step. Lower it if requests
    become slow while a backlog is read."""
    client_options: Options = {}
    """More options for kafka-python: `security_protocol`, `sasl_*`, `ssl_*`; those of its consumer or its producer go
    to that one alone. Names, values and files are checked when a command starts. Put passwords into environment
    variables, such as `SPRINGTIDE_KAFKA__CLIENT_OPTIONS__SASL_PLAIN_PASSWORD`."""


class EventSettings(Section):
    """Limits for events. An event beyond a limit is refused and goes to the dead-letter topic."""

    max_future_s: Positive = 86_400.0
    """How far an event time may lie ahead of the server's clock, in seconds. Raise it if producers' clocks are wrong by
    more."""
    max_id_bytes: Annotated[int, Field(ge=1)] = 256
    """Longest id, type or name, in bytes of UTF-8."""
    max_text_bytes: Annotated[int, Field(ge=1)] = 16_384
    """Longest text attribute or context value, in bytes of UTF-8."""
    max_event_bytes: Annotated[int, Field(ge=64)] = 1_000_000
    """Largest record, in bytes. It should not be below the producers' limit (`max.request.size` in Kafka)."""
    max_context_entries: Annotated[int, Field(ge=0)] = 64
    """Most entries in the context map of one interaction."""
    max_attributes: Annotated[int, Field(ge=1)] = 500
    """Most attributes in one upsert. One with more is refused whole, since which of them to take would be anybody's
    guess."""
    max_attribute_names: Annotated[int, Field(ge=1)] = 1_000
    """Most names of attributes that the events of one partition may give to the nodes of one type. Beyond it the known
    attributes of an upsert are taken, and its new ones are refused. The first names in each partition are in, for every
    server alike and for good: `springtide rebuild` counts anew. Names in `[attributes]` are always in. An attribute
    takes 1 to 2 KB, and about 100 bytes for each node that has it."""
    max_category_values: Annotated[int, Field(ge=1)] = 1_000
    """Most values of one category attribute of one node. The attribute is refused beyond it, the others are taken."""
    max_vector_length: Annotated[int, Field(ge=1)] = 1_024
    """Most numbers of a vector attribute. A longer one is refused, and so is one of another length than the first that
    came by its name for a node of its type; the other attributes are taken. A number takes 4 bytes of memory for each
    node that has it, and a vector about 150 bytes more."""
    max_types: Annotated[int, Field(ge=1)] = 100
    """Most node types, and most relations between them, that the events of one partition may name. An event with a new
    one beyond it is refused. `user`, `graph.item_type` and the types in `[attributes]` do not count."""
    duplicates_max_events: Annotated[int, Field(ge=1)] = 5_000_000
    """Most events with an `event_id` that are remembered, so that the same event counts once. An event takes 24 to 40
    bytes of memory, and 16 in checkpoints. Raise it if a producer may repeat events after more others than that."""
    duplicates_hours: Positive = 168.0
    """Most hours between two records of the same event, by the records' timestamps, for the second to be ignored. Raise
    it if files are published again after a longer time; lower it if ids are used again sooner."""
    decoders: Table[Options] = {"confluent": {}, "cloudevents": {}}
    """Decoders of records that other tools write, each a table with its options: `confluent` (a schema registry's
    frame), `cloudevents`, `debezium`, or a plugin's. The first that recognises a record reads it; all other records are
    read as events in protobuf, or in JSON with the header `content-type: application/json`. A list in a file replaces
    the default one. `plugins/README.md` shows their options."""


class InteractionSettings(Section):
    """One kind of interaction: how it enters the graph."""

    weight: Positive = 1.0
    """Edge weight of one interaction, a factor relative to the other kinds: a view of weight 0.1 counts a tenth of a
    purchase of weight 1."""
    positive: bool = True
    """Whether the interaction shows that the user likes the item. Models learn preferences and context weights learn
    habits from positive interactions only; relational encoders see the others as edges. With `false`, it shows that
    they dislike it, unless `feedback` says something else."""
    feedback: Literal["auto", "positive", "neutral", "negative", "shown"] = "auto"
    """What the interaction says of the user's taste. A `negative` one lowers the item and items like it for this user,
    by its weight: at once, and in the vectors that models learn. A later positive one of the same item takes that back.
    A `neutral` one changes neither. A `shown` one says that the item was put before the user: what they were shown and
    left sinks where a request rotates, and trainings can learn from it (`training.passed_over_weight`). `auto` follows
    `positive`: `true` is `positive`, and `false` is `negative`; but `false` is `shown` for `impression`, `exposure` and
    `show`, and `neutral` for other types that say only that the user met the item: `view`, `click`, `open`, `play`,
    `search`, `visit`, `pageview`, `page_view`."""

    def feedback_of(self, name: str) -> Feedback:
        """Return what interactions of the rule of this name say."""
        return feedback_of(name, is_positive=self.positive) if self.feedback == "auto" else self.feedback


class GraphSettings(Section):
    """The live graph: what is recommended, and how much is kept in memory."""

    item_type: Literal["item", "user"] = "item"
    """Node type that is recommended. With `user` the graph is social: events carry user ids as item ids, and users
    are recommended to follow."""
    max_edges: Annotated[int, Field(ge=1)] | None = 50_000_000
    """Most edges kept in memory; the oldest are dropped beyond it. `none` keeps all. An edge takes 28 to 56 bytes."""
    max_shown: Annotated[int, Field(ge=1)] | None = 10_000_000
    """Most edges kept in memory of interactions whose feedback is `shown`, such as impressions. `max_edges` does not
    count them: answers show far more than is bought, and would push out what was. The oldest are dropped beyond it. 10
    million take about 250 MB: a week of 71,000 answers of 20 items a day. `none` keeps all."""
    max_nodes: Annotated[int, Field(ge=1)] | None = 20_000_000
    """Most nodes of all types kept in memory. Beyond it those go first that were last heard of longest ago, by event
    time, with their edges and attributes; they come back with their next event. `none` keeps all. A node takes 200 to
    400 bytes. Below the bound, a node goes when it is deleted, and when it has lost its last edge by `max_edges` or
    `max_age_days` and has no attributes; its place in memory is used again after a minute."""
    max_age_days: Positive | None = None
    """Age in days at which edges are dropped, counted back from the newest event. `none` keeps all. Set it where old
    behaviour misleads, or must not be stored."""
    keep_deletions_days: Positive | None = 400.0
    """How long a deletion is remembered in days, counted back from the newest event. It holds for all events of the
    node with an event time up to its own, also for those that come later, such as from another partition. Raise it if
    older events may still come, such as from a replay. `none` keeps all up to `max_deletions`. Only a digest of the id
    is kept."""
    max_deletions: Annotated[int, Field(ge=1)] = 1_000_000
    """Most deletions remembered; the oldest are dropped beyond it. One takes about 40 bytes."""


class CheckpointSettings(Section):
    """Checkpoints: the graph and the stream offsets, written together, so that a restart continues where it stopped."""

    url: str = "springtide-state/checkpoints"
    """Folder or URL, such as `s3://bucket/checkpoints` (with the extra `s3`)."""
    every_s: Positive = 60.0
    """Time between two checkpoints in seconds, if anything changed. A restart reads again what came after the last."""
    every_events: Annotated[int, Field(ge=1)] = 500_000
    """Number of interactions after which a checkpoint is written even if `every_s` has not passed."""
    keep: Annotated[int, Field(ge=1)] = 3
    """Number of checkpoints kept; older ones are deleted. Keep the topic's retention longer than the oldest one."""
    role: Literal["auto", "writer", "reader"] = "auto"
    """Who writes, of several servers on one URL. `auto` writes if nobody else does, and else reads beside the writer
    until that has gone. `writer` refuses to start beside another writer. `reader` never writes. Readers restore the
    writer's checkpoints and read the stream themselves. With a `journal`, `auto` is `writer`."""
    takeover_s: Positive = 30.0
    """How long the writer must be silent before another server takes its place, in seconds; the same in all of them.
    It gives a sign of life six times in that time. One that has died on the same machine is replaced much sooner."""
    journal: str = ""
    """Local folder for the records that no checkpoint holds yet, for a broker that forgets: a new topic carries on the
    former one. `springtide up` names one for the embedded broker. Empty keeps none."""
