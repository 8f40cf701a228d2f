"""Log events as lines for people: the time, the process, and what happened in plain words."""

import sys
import traceback
from collections.abc import Callable, Mapping
from typing import Any

from springtide.errors import SpringtideError

_PROCESS_WIDTH = 8
_RESET, _DIM = "\x1b[0m", "\x1b[2m"
_LEVEL_COLOURS = {"warning": "\x1b[33m", "error": "\x1b[31m", "critical": "\x1b[31m"}
_PROCESS_COLOURS = {"server": "\x1b[36m", "trainer": "\x1b[35m", "up": "\x1b[32m", "console": "\x1b[34m"}
_NOT_FIELDS = ("event", "logger", "level", "timestamp", "exc_info")

Fields = Mapping[str, Any]


def _settings(fields: Fields) -> str:
    changed = fields["changed"]
    if not changed:
        return "every setting has its default"
    return "settings that are not defaults: " + ", ".join(f"{name} = {value!r}" for name, value in changed.items())


def _rebuild_advised(fields: Fields) -> str:
    return (
        f"checkpoint {fields['checkpoint']} was made under other settings: {'; '.join(fields['reasons'])} "
        "(`springtide rebuild` makes the graph anew from the topic)"
    )


def _settings_applied(fields: Fields) -> str:
    return f"changed settings were applied to checkpoint {fields['checkpoint']}: {'; '.join(fields['changes'])}"


def _reading(fields: Fields) -> str:
    offsets = fields["next_offsets"]
    if len(set(offsets.values())) == 1:
        return f"reading {fields['topic']} from offset {next(iter(offsets.values())):,}"
    by_partition = ", ".join(f"{offset:,} (partition {partition})" for partition, offset in sorted(offsets.items()))
    return f"reading {fields['topic']} from offsets {by_partition}"


def _model_swapped(fields: Fields) -> str:
    before = f", instead of {fields['before']}" if fields["before"] else ""
    return f"model {fields['version']} is in use now{before}"


def _part_failed(fields: Fields) -> str:
    faults = {"raised": "failed in", "wrong": "answered nonsense from", "blocked": "did not return from"}
    return f"{fields['part']} of {fields['origin']} {faults[fields['fault']]} {fields['hook']}: {fields['reason']}"


def _torch_loaded(fields: Fields) -> str:
    parts = fields["parts"]
    return (
        f"model {fields['version']} is computed by PyTorch, which takes some 340 MB: {' and '.join(parts)} "
        f"{'has' if len(parts) == 1 else 'have'} no serving half"
    )


def _model_not_loaded(fields: Fields) -> str:
    what = f"model {fields['version']} cannot be loaded" if fields["version"] else "the model registry cannot be read"
    return f"{what}; " + (f"model {fields['served']} stays in use" if fields["served"] else "there is still no model")


def _index_of(fields: Fields) -> str:
    return f"index {fields['index']} of model {fields['version']}"


def _index_measured(fields: Fields) -> str:
    return (
        f"recall {fields['recall']:.3f} of {fields['users']:,} users' 20 best items, "
        f"{fields['index_ms']:.2f} ms an answer beside {fields['exact_ms']:.2f} ms exactly"
    )


def _index_used(fields: Fields) -> str:
    return (
        f"{_index_of(fields)} is used from now on: {_index_measured(fields)}; built from {fields['items']:,} items in "
        f"{fields['build_s']:g} s, it takes {fields['bytes'] / 2**20:,.0f} MiB"
    )


def _words_missing(fields: Fields) -> str:
    return f"explain: {fields['language']} has no words for {fields['key']}: reasons are partly in English"


def _index_refused(fields: Fields) -> str:
    return (
        f"{_index_of(fields)} is not used, and answers stay exact: its recall is {fields['recall']:.3f} of "
        f"{fields['users']:,} users' 20 best items, below ranking.index_min_recall, {fields['min_recall']:g}"
    )


def _index_slower(fields: Fields) -> str:
    return f"{_index_of(fields)} is not used, since exact answers are as fast: {_index_measured(fields)}"


def _index_unmeasured(fields: Fields) -> str:
    return f"{_index_of(fields)} is not used: there are too few users to measure it with, {fields['users']:,}"


def _live_quality(fields: Fields) -> str:
    return (
        f"live quality of {fields['version'] or 'the fallback'} over the last {fields['events']:,} events: "
        f"NDCG {fields['ndcg']:.4f}, hit rate {fields['hit_rate']:.4f}"
    )


def _events_refused(fields: Fields) -> str:
    reasons = ", ".join(f"{count:,} {reason}" for reason, count in sorted(fields["reasons"].items()))
    return (
        f"refused {sum(fields['reasons'].values()):,} events ({reasons}); the first one is at offset "
        f"{fields['offset']} of partition {fields['partition']} (`springtide dead-letters list` shows why)"
    )


def _events_skipped(fields: Fields) -> str:
    return (
        f"skipped events of partition {fields['partition']} of topic {fields['topic']} from offset "
        f"{fields['from_offset']} on, which the broker no longer has ({fields['reason']}); reading goes on at offset "
        f"{fields['to_offset']}"
    )


def _kafka_checked(fields: Fields) -> str:
    return f"Kafka: {fields['message']}. {' '.join(filter(None, (fields['advice'], fields['command'])))}".rstrip()


WORDS: Mapping[str, str | Callable[[Fields], str]] = {
    "baseline_serves": "the baseline {baseline} is in use now, as version {version}",
    "bypass_not_noted": "the registry's audit log does not tell that model {version} cannot be loaded: {error}",
    "checkpoint_damaged": "checkpoint {checkpoint} is damaged, and its place takes {instead}: {fault}",
    "checkpoint_failed": "the checkpoint could not be written: {error}",
    "checkpoint_lock_heartbeat_failed": "the checkpoint lock could not be renewed, next attempt soon: {error}",
    "checkpoint_lock_lost": "{error}",
    "checkpoint_lock_not_released": "the checkpoint lock could not be released, the next server waits for it: {error}",
    "checkpoint_not_set_aside": "damaged checkpoint {checkpoint} could not be set aside: {error}",
    "checkpoint_restored": "restored checkpoint {checkpoint} with {events:,} events",
    "checkpoint_unfinished": (
        "there are files of checkpoint {checkpoint} and no manifest: its writer was ended before it was done, or the "
        "manifest is gone"
    ),
    "checkpoint_written": "wrote checkpoint {checkpoint} with {events:,} events",
    "child_ended": "the {child} ended with {reason}; it starts again in {restart_in_s:g} s",
    "curves_not_read": "the training curves of model {version} cannot be shown: {error}",
    "console_listening": "console on {address}, for the server at {server}",
    "child_left_out": "the {child} is left out, and all else goes on: {reason}",
    "dead_letter_file_not_cleaned": "deleted users and items are still in {path}, which is tried again: {error}",
    "dead_letters_removed": "{letters:,} dead letters of deleted users or items were taken out of {path}",
    "dead_letters_replayed": "{actor} has published {letters:,} dead letters again ({reason}{place})",
    "dead_letters_not_written": "{error} (kafka.on_dead_letter_failure is {instead})",
    "duplicates_differ": "{events:,} events were ignored that differ from those that came before under their ids",
    "engine_trusts_clients": (
        "server.engine is 'native', and {host} can be reached from elsewhere: a client may fill this process's memory "
        "with one large request"
    ),
    "event_quarantined": "the event at offset {offset} of partition {partition} cannot be applied: {error}",
    "events_of_deleted_nodes": "{events:,} events came late and were dropped: their nodes were deleted after them",
    "call_refused": "{peer} was refused {method}: {reason} (about {lately:,} refusals lately)",
    "call_failed": "a call failed; its client was told why, but no path or URL: {error}",
    "events_poisoned": "{error}",
    "certificates_not_read": "the former certificates stay in use: {error}",
    "certificates_read": "new connections get the certificate that {path} holds now",
    "events_refused": _events_refused,
    "events_skipped": _events_skipped,
    "first_training_requested": "there is enough to learn from, {interactions:,} interactions: a model was asked for",
    "group_offsets_not_committed": "offsets are not shown in group {group}, which changes nothing else: {error}",
    "index_failed": "index {index} of model {version} failed, and answers stay exact",
    "index_refused": _index_refused,
    "words_missing": _words_missing,
    "index_slower": _index_slower,
    "index_unmeasured": _index_unmeasured,
    "index_used": _index_used,
    "ingest_failed": "cannot go on reading the stream: {error}",
    "kafka_checked": _kafka_checked,
    "kafka_not_checked": "Kafka cannot be checked, which changes nothing else: {error}",
    "least_active_dropped": "{num_nodes:,} least recently active nodes left the graph: max_nodes is {max_nodes:,}",
    "listening": "listening on {address}, not ready yet",
    "listening_for_metrics": "metrics for Prometheus are at {address}/metrics",
    "metrics_failed": "the metrics cannot be read",
    "listening_for_operators": "listening for operators (status, promotions, trainings) on {address}",
    "live_quality": _live_quality,
    "live_quality_dropped": "live quality dropped, and a training was requested: {reason}",
    "live_quality_failed": "live quality cannot be measured",
    "manifest_unreadable": "model {version} is skipped, since its manifest cannot be read: {reason}",
    "model_judged": "the new model was {verdict} after {seconds:g} s of comparison: {reason}",
    "model_damaged": "model {version} cannot be loaded, the one promoted before it takes its place: {fault}",
    "model_not_loaded": _model_not_loaded,
    "model_rejected": "model {version} was published but not promoted: {reason}",
    "model_swapped": _model_swapped,
    "part_failed": _part_failed,
    "ingest_left_behind": "the server ends without a last checkpoint: {error}",
    "plugin_loaded": "plugin {plugin} of {origin} is loaded ({way})",
    "plugin_not_allowed": (
        "{package} {version} is installed and offers plugins; it is not imported, since plugins.allow does not name it"
    ),
    "model_dropped": "model {version} held deleted nodes, could not be rewritten, and was deleted: {reason}",
    "model_reloaded": "model {version} was loaded again, since it was rewritten",
    "model_rewritten": "model {version} was rewritten: {what}",
    "models_not_rewritten": "deleted nodes could not be taken out of all models, which is tried again",
    "plugin_left_out": "plugin {plugin} cannot be loaded and is left out: {reason}",
    "variant_loaded": "model {version} is loaded beside the current one, for an experiment",
    "variant_not_loaded": "model {version}, which an experiment needs, cannot be loaded; the experiment does not count",
    "steering_changed": "rules, scenarios and experiments are of version {version} now: {rules} rules, {scenarios} "
    "scenarios, {experiments} experiments",
    "steering_damaged": "a version of rules, scenarios and experiments is damaged, and the one before holds: {fault}",
    "steering_not_read": "rules, scenarios and experiments cannot be read; those of version {version} hold on",
    "steering_file_refused": "the file of rules and scenarios cannot hold, and version {version} does: {fault}",
    "pointer_damaged": "the registry's pointer is damaged, and its newest whole state takes its place: {fault}",
    "reading": _reading,
    "rebuild_not_served": "the rebuilt state cannot be served, and the former one stays: {error}",
    "rebuild_served": "the rebuilt state is served, with {events:,} events; checkpoint {checkpoint} holds it",
    "rebuild_advised": _rebuild_advised,
    "refresh_failed": "the item table could not be refreshed; the old one stays in use",
    "request_failed": "a request failed",
    "retrains_instead": "training from scratch, since model {model} cannot be continued: {reason}",
    "serving": "ready for requests on {address}",
    "settings": _settings,
    "settings_applied": _settings_applied,
    "settings_not_checked": "the parts of models could not be checked; trainings try again",
    "stopped": "stopped",
    "stopping": "stopping",
    "state_made_whole": (
        "the graph is whole again, checkpoint {checkpoint} holds it; {quarantined:,} events went to the dead letters"
    ),
    "state_not_made_whole": "no whole graph could take the place of the one that events have broken: {error}",
    "stream_goes_on": "the stream goes on after {after_s:.1f} s",
    "journal_damaged": "{path} is damaged: {num_bytes} bytes at byte {at_byte} are passed over",
    "journal_not_pruned": "the journal keeps more than it needs: {error}",
    "journal_not_synced": "the journal is not on the disk, a power cut would lose it: {error}",
    "journal_read": "the journal had {records} records that no checkpoint holds",
    "stream_waits": "the stream waits: {error}",
    "torch_loaded": _torch_loaded,
    "token_line_unreadable": "line {line} of {path} is no token, and lets nobody in: {reason}",
    "tokens_not_read": "the file of tokens {path} cannot be read, and its tokens are refused: {error}",
    "tokens_read": "the file of tokens has changed: {tokens:,} tokens are known now",
    "topic_check_failed": "the topic could not be checked, and is asked for again: {error}",
    "trainer_step_failed": "the trainer failed, and tries again soon",
    "trainer_stopped": "stopped",
    "training_failed": "training ({mode}) failed, next attempt in {retry_s:g} s",
    "training_refused": "training ({mode}) is not possible: {reason}",
    "training_request_failed": "a training could not be requested",
    "training_request_unreadable": "the training request {path} cannot be read and is skipped: {reason}",
    "training_status_not_written": "the progress of the training could not be written: {reason}",
    "training_status_unreadable": "the progress of the training cannot be read from {path}: {reason}",
    "became_reader": "this server writes no checkpoints any more, and reads beside the new writer: {error}",
    "became_writer": (
        "this server writes the checkpoints now, under lease {fence}; {dead_letters:,} dead letters were written again"
    ),
    "missed_dead_letters_lost": "dead letters of the former writer may be missing: {error}",
    "reading_beside_writer": "this server reads beside the writer of the checkpoints: {holder}",
    "writer_lease_not_read": "who writes the checkpoints could not be read, next attempt soon: {error}",
    "waiting_for_checkpoint_lock": "waiting up to {at_most_s:g} s for the checkpoint lock of {holder}",
}
"""What each event of ours says to people: a format of its fields, or a function of them."""


class LineRenderer:
    """The last processor of structlog: renders an event as one line, and an unexpected error's traceback below it.

    Args:
        process: Name of this process, which stands in each line; without one, it is left out.
        is_coloured: Whether to write the terminal's colour codes.
    """

    def __init__(self, process: str = "", *, is_coloured: bool = False) -> None:
        self._process = process
        self._is_coloured = is_coloured

    def __call__(self, _logger: Any, _method: str, event: Mapping[str, Any]) -> str:
        """Return the line, without a line break at its end."""
        level = event.get("level", "info")
        words = in_words(event)
        error = _error_of(event.get("exc_info"))
        trace = ""
        if isinstance(error, SpringtideError):  # Its message is written for people: no traceback.
            words += "" if str(error) in words else f": {error}"
        elif error is not None:
            trace = "\n" + "".join(traceback.format_exception(error)).rstrip()
        columns = [self._coloured(event.get("timestamp", ""), _DIM)]
        if self._process:
            name = f"{self._process:<{_PROCESS_WIDTH}}"
            columns.append(self._coloured(name, _PROCESS_COLOURS.get(self._process, _RESET)))
        marked = words if level in ("debug", "info") else f"{level}: {words}"
        columns.append(self._coloured(_on_one_line(marked), _LEVEL_COLOURS.get(level, "")))
        return "  ".join(columns) + self._coloured(trace, _DIM)

    def _coloured(self, text: str, colour: str) -> str:
        return f"{colour}{text}{_RESET}" if self._is_coloured and colour and text else text


def in_words(event: Mapping[str, Any]) -> str:
    """Return what an event says, in words; one that ``WORDS`` lacks is its name and its fields."""
    name = str(event["event"])
    words = WORDS.get(name)
    fields = {key: value for key, value in event.items() if key not in _NOT_FIELDS}
    try:
        if words is not None:
            return words.format_map(fields) if isinstance(words, str) else words(fields)
    except (AttributeError, LookupError, TypeError, ValueError):
        pass  # Other fields than expected: a log line must never fail.
    logger = str(event.get("logger", ""))
    if not logger.startswith("springtide"):  # A library's message is a sentence already.
        return f"{logger}: {name}" if logger else name
    listed = ", ".join(f"{key} = {value!r}" for key, value in fields.items())
    return name.replace("_", " ") + (f": {listed}" if listed else "")


def _error_of(exc_info: Any) -> BaseException | None:
    if exc_info is True:
        return sys.exception()
    if isinstance(exc_info, tuple):
        exc_info = exc_info[1]
    return exc_info if isinstance(exc_info, BaseException) else None


def _on_one_line(text: str) -> str:
    """Return the text without line breaks, and with control characters escaped: events may bring them from outside."""
    return "".join(char if char.isprintable() else ascii(char)[1:-1] for char in " ".join(text.split()))
