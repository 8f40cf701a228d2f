"""Sections about serving: ranking, the gRPC server, its measured quality, plugins, logs."""

from typing import Annotated, Literal

from pydantic import Field

from springtide.clock import ClockName
from springtide.settings.file import DEFAULT_HOST, DEFAULT_PORT, MAX_PORT, admin_port_beside
from springtide.settings.sections.base import Options, Part, Positive, Section, Table


class RankingSettings(Section):
    """How items are ranked."""

    context_weights: Table[Options] = {
        name: {} for name in ("popularity", "calendar", "trend", "repeat", "reorder", "item_item", "place", "weather")
    }
    """Context weights that multiply a model's score, by name, each with its options. A list in a file replaces the
    default one, so name all that you use."""
    item_groups: tuple[str, ...] = ("department", "category", "type", "genre")
    """Categorical attributes that group items, from coarse to fine. Rare items borrow from their group. Attributes that
    your items do not have are ignored."""
    max_history: Annotated[int, Field(ge=1)] = 5_000
    """Most interactions of a user that a request looks at, the latest of each kind. Lower it if users with long
    histories answer slowly."""
    item_refresh_s: Positive = 1.0
    """Time in seconds between two updates of the item vectors, which add new items and changed attributes."""
    index: Part | None = None
    """Index that finds the items near to a user without looking at all of them, such as `usearch`
    (`pip install 'springtide[index]'`). `none` uses none: answers are exact, and up to some million items that is as
    fast. An index may miss an item. It is built beside the answers for each model, takes memory of its own, and is used
    only once its answers to some of your users were measured: if they hold enough of the exact ones, in less time."""
    index_min_items: Annotated[int, Field(ge=1)] = 1_000_000
    """Number of items from which on the index is built. With fewer, all answers are exact."""
    index_min_recall: Annotated[float, Field(gt=0, le=1)] = 0.99
    """Share of the 20 best items that the index's answers must find, on average over the measured users. Below it, the
    index is not used."""
    rerankers: Table[Options] = {"mmr": {}}
    """Rerankers that requests and scenarios may name, by name, each with its options: they order the best items anew. A
    list in a file replaces the default one, so name all that you use."""
    clock: ClockName = "auto"
    """As of when a request that names no time is answered. `stream` is the stream's own time: that of its newest event,
    going on with the wall clock from when that event came; `wall` is the wall clock. `auto` takes the stream's time if
    its newest event was more than 7 days old when it came, as with a file of past events, else the wall clock. Answers
    and the status say which moment they speak of. Set `wall` if events come more than a week late and answers are for
    today all the same, and `stream` if a replay is to be answered as of its own time, however recent."""


class TlsSettings(Section):
    """TLS of the gRPC server. Changed files hold from the next connection on, without a restart.

    The listener for operators has it, too, unless it is on the loopback interface. The engine `native` has none.
    """

    cert: str | None = None
    """File of the server's certificate, in PEM, with those of the authorities between it and a root behind it. `none`
    switches TLS off."""
    key: str | None = None
    """File of the certificate's key, in PEM, without a password."""
    client_ca: str | None = None
    """File of the authorities, in PEM, one of which must have signed a client's certificate (mutual TLS); clients
    without one are not let in. `none` asks for none."""


class TokenSettings(Section):
    """Tokens that clients must show: `authorization: Bearer TOKEN`, or `api-key: TOKEN`.

    Where none are set, none is asked for. `springtide tokens new` makes one and prints it once: only a hash of it is
    kept, in `file` or in `lines`. With tokens, the server does not describe its API (`server.reflection`). Health stays
    open to all.
    """

    file: str | None = None
    """File of the tokens' hashes. It is looked at each second: tokens are added and revoked without a restart."""
    lines: tuple[str, ...] = ()
    """Hashes of tokens, as `springtide tokens new` prints them where no file is set: for settings that come from the
    environment."""
    requests_per_s: Positive | None = None
    """Most requests per second of one token, on average over a second; more are refused with RESOURCE_EXHAUSTED.
    `none` sets no limit. One that is set for a token itself (`tokens new --rate`) goes before it."""


class ServerSettings(Section):
    """The gRPC server."""

    host: str = DEFAULT_HOST
    """Address to listen on. `0.0.0.0` accepts connections from other machines: for that, `server.tls` and
    `server.tokens` must be set (or `server.tls.client_ca`), or `server.insecure`."""
    port: Annotated[int, Field(ge=0, le=MAX_PORT)] = DEFAULT_PORT
    """TCP port to listen on. 0 takes any free port."""
    admin_host: str = DEFAULT_HOST
    """Address of the listener for operators, which alone answers `AdminService`: status, trainings, promotions. By
    default only this machine reaches it."""
    admin_port: Annotated[int, Field(ge=0, le=MAX_PORT)] | None = None
    """TCP port of the listener for operators. `none` takes the port 100 above `server.port`; 0 takes any free port."""
    engine: Literal["grpcio", "native"] = "grpcio"
    """What speaks gRPC. `native` is pygrpc-native (`pip install 'springtide[native]'`), which does the network's work
    outside of Python: an answer takes about half of the CPU time. It is for clients that you trust: it takes a request
    into memory whole, unpacked where the client packed it, before it refuses one that is too large, and nothing of it
    can be set to less."""
    tls: TlsSettings = TlsSettings()
    tokens: TokenSettings = TokenSettings()
    insecure: bool = False
    """Whether to start where other machines get in, although there is no TLS or there are no tokens. For a server
    behind a proxy, or in a network, that sees to both."""
    reflection: bool = True
    """Whether the server describes its API to tools such as grpcurl; with tokens it never does."""
    max_deadline_s: Positive = 10.0
    """Longest time that a request may take, in seconds, also if the client sets a longer deadline or none. A
    `RecommendBatch` may take as long for each thousand of its requests that is begun."""
    max_batch: Annotated[int, Field(ge=1)] = 32
    """Most requests that are scored together. A higher value raises throughput, and the latency under load."""
    max_request_bytes: Annotated[int, Field(ge=1_000, le=2**31 - 1)] = 6 * 1024 * 1024
    """Most bytes of one request, unpacked; a larger one is refused with RESOURCE_EXHAUSTED. The largest that the API's
    own limits allow, with 21,000 ids of 256 bytes, fits in by default."""
    max_open_requests: Annotated[int, Field(ge=1)] = 4_000
    """Most requests that may be open at once, in plain ones: one for 1,000 items counts as eleven, filters count too.
    Large ones may take three quarters of it. What is more is refused at once, with RESOURCE_EXHAUSTED and a
    `retry-after`. Health and status are answered all the same."""
    num_threads: Annotated[int, Field(ge=1)] | None = None
    """Number of CPU threads that score a batch: the size of the pool of NumPy's matrix library (and of PyTorch, where a
    part needs it). `none` leaves it to the library, which takes all cores. `OPENBLAS_NUM_THREADS` goes before it."""

    @property
    def has_tls(self) -> bool:
        """Whether connections are encrypted; those of operators on the loopback interface are not."""
        return self.tls.cert is not None

    @property
    def has_tokens(self) -> bool:
        """Whether clients must show a token."""
        return self.tokens.file is not None or bool(self.tokens.lines)

    @property
    def admin_port_number(self) -> int:
        """TCP port of the listener for operators; 0 for any free one."""
        return admin_port_beside(self.port) if self.admin_port is None else self.admin_port


class SteeringSettings(Section):
    """Rules, scenarios and experiments: where they are kept, and whether a file of yours is their source."""

    url: str = ""
    """Store of their versions: a folder or a URL. By default it is the folder `steering` beside `model.url`; servers
    with one store follow each other's changes within a second."""
    keep: Annotated[int, Field(ge=10)] = 100
    """Number of versions kept in the store. The list of who changed what and why is kept whole."""
    file: str = ""
    """File in TOML, with tables `[rules.NAME]`, `[scenarios.NAME]` and `[experiments.NAME]`, which a server follows:
    what it says replaces all that steers at the start, and within a second after it has changed. Changes by
    AdminService and the command line are refused then; servers with one store need one file. Empty for none."""


class ExplainSettings(Section):
    """The words of reasons."""

    language: str = "en"
    """Language of the reasons where a request names none. `en` and `de` are shipped."""
    templates: str = ""
    """Folder of files of your own words, `LANGUAGE.toml`: they take the place of the shipped ones, key by key. A server
    that cannot read them does not start."""
    name_attribute: str = ""
    """Attribute of items that names them in reasons, such as `title`; a text, or the first value of a category. Empty
    for their ids."""


class LiveQualitySettings(Section):
    """How a server measures itself: it ranks a sample of the events before it applies them."""

    max_events_per_s: Annotated[float, Field(ge=0)] = 5.0
    """Most positive events per second that are measured. Each costs one ranking; 0 switches the measurement off."""
    window: Annotated[int, Field(ge=10)] = 1_000
    """Number of the latest measured events over which quality is averaged. More is steadier and notices a drop
    later."""
    max_drop: Annotated[float, Field(gt=0, lt=1)] | None = 0.2
    """Share of its first window's NDCG@20 that a model version may lose; beyond it, the server asks for a training, at
    most once per version. `none` never asks."""


class LogSettings(Section):
    """What processes log to standard error, and how it looks."""

    format: Literal["auto", "text", "json"] = "auto"
    """Form of the lines: `text` for people, `json` for machines. `auto` writes text to a terminal, JSON elsewhere."""
    level: Literal["debug", "info", "warning", "error"] = "info"
    """Least severe level that Springtide logs. Libraries log from `warning` on."""


class PluginSettings(Section):
    """Plugins, beside the built-in parts. They are code, and run with all rights of the process.

    What no setting names is not imported.
    """

    allow: tuple[str, ...] = ()
    """Installed packages whose plugins are loaded, by the names that `pip list` shows, such as `["my-weights"]`. `*`
    stands for all. `springtide plugins list` shows which others offer plugins."""
    modules: tuple[str, ...] = ()
    """Python modules to load as plugins, such as `["my_weights"]`."""
    folder: str | None = None
    """Folder whose `*.py` files are loaded as plugins. `none` loads no folder."""
    max_call_s: Positive = 1.0
    """Longest time that a server waits for a part of a plugin while it answers, in seconds. Where a part takes longer,
    raises or answers nonsense, it answers without, which `springtide status` shows; one that took longer rests for 10
    seconds, and for longer each time. Built-in parts are not measured."""
    on_error: Literal["refuse", "skip"] = "refuse"
    """What happens if a plugin cannot be loaded: `refuse` stops the start, `skip` continues without it and logs a
    warning."""
