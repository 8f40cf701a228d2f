"""All errors of Springtide: one tree, with a class for each thing that a caller may handle."""

from collections.abc import Iterable


class SpringtideError(Exception):
    """Raised when Springtide refuses something or fails; the base of all its errors."""


class SettingsError(SpringtideError):
    """Raised when a setting is unknown, of the wrong kind, or out of its range."""


class PluginError(SpringtideError):
    """Raised when a plugin cannot be loaded, or offers a name that another plugin offers."""


class ConformanceError(SpringtideError, AssertionError):
    """Raised when a part breaks the contract of its kind."""


class UnknownPartError(PluginError):
    """Raised when settings name a part that no plugin offers; ``left_out`` says which plugins were not looked at."""

    def __init__(self, kind: str, name: str, choices: Iterable[str], left_out: Iterable[object] = ()) -> None:
        said = "".join(f"; {each}" for each in left_out)
        super().__init__(f"no {kind} named {name!r} (choices: {', '.join(sorted(choices)) or 'none'}){said}")


class BypassedError(SpringtideError):
    """Raised when a part of a plugin has failed, or is not called for now: the caller does without it."""


class EventRefusedError(SpringtideError):
    """Raised when an event cannot be decoded, or breaks a rule for events.

    Attributes:
        reason: A short stable word for counters and the dead-letter header, such as ``empty_id``.
    """

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class CheckpointError(SpringtideError):
    """Raised when a checkpoint is missing a piece, is damaged, or cannot be written."""


class DamagedCheckpointError(CheckpointError):
    """Raised when a checkpoint is not the one that was written: a file is missing, or its checksum is another one.

    Attributes:
        file: Name of the file, as the manifest has it; empty if the manifest itself is damaged.
    """

    def __init__(self, message: str, file: str = "") -> None:
        super().__init__(message)
        self.file = file


class JournalError(SpringtideError):
    """Raised when the journal of records cannot be written or read, such as on a full disk."""


class CheckpointLockedError(CheckpointError):
    """Raised when another process may write to the checkpoint URL, so that this one may not.

    Attributes:
        holder: Which process that is, in words; empty if unknown.
    """

    holder: str = ""


class CheckpointLockLostError(CheckpointError):
    """Raised when another process has taken over the checkpoint URL while this one was writing there."""


class OffsetsLostError(SpringtideError):
    """Raised when the broker no longer has the events after the checkpoint's position, or the topic was recreated."""


class PoisonError(SpringtideError):
    """Raised when applying events fails by a mistake of ours or of a plugin's: the state may have half of them."""


class RebuildError(SpringtideError):
    """Raised when a state cannot be made anew from the topic, or cannot take the place of the one that is served."""


class ModelError(SpringtideError):
    """Raised when a model version is missing or damaged, or does not fit the graph."""


class SteeringError(SpringtideError):
    """Raised when rules, scenarios and experiments cannot be read or changed."""


class SteeringChangedError(SteeringError):
    """Raised when somebody else has changed rules, scenarios or experiments since they were read."""


class TrainingError(SpringtideError):
    """Raised when there is too little to train on, or training made vectors that are not finite."""


class InvalidRequestError(SpringtideError):
    """Raised when a request has a wrong field.

    Attributes:
        field: Path of the wrong field, such as ``context.event_time``.
    """

    def __init__(self, field: str, message: str) -> None:
        super().__init__(f"{field}: {message}")
        self.field = field
        self.message = message


class DatasetError(SpringtideError):
    """Raised when a data set cannot be downloaded, verified or read."""


class BrokerError(SpringtideError):
    """Raised when the embedded broker cannot be started, or has died."""
