"""The folder that server and trainer share: open requests for trainings, and the trainer's progress."""

import dataclasses
import json
import secrets
from dataclasses import dataclass
from typing import Any

import structlog

from springtide.clock import wall_ms
from springtide.errors import InvalidRequestError
from springtide.model.manifest import TrainingMode
from springtide.settings.model import Settings
from springtide.storage import Storage
from springtide_services.training.schedule import TrainingRequest

logger = structlog.stdlib.get_logger(__name__)

_REQUESTS = "requests"
_STATUS = "status.json"
_MAX_MS = 253_402_300_799_999  # The end of the year 9999, as far as protobuf's timestamps go.
_MAX_DONE = 2**63 - 1
# What files that somebody else wrote, or half of which is gone, are refused by.
_UNREADABLE = (ValueError, TypeError, RecursionError, InvalidRequestError)


@dataclass(frozen=True, slots=True)
class TrainingStatus:
    """The progress of the current training, or the outcome of the last one.

    Attributes:
        stage: ``load``, a stage of the training, ``publish``; then ``done`` or ``failed``. ``unreadable`` if what the
            trainer wrote cannot be read.
        mode: How it trains.
        request_id: The request that it answers; empty if it was due by the schedule.
        started_ms: When it began, milliseconds since the Unix epoch.
        updated_ms: When this status was written, milliseconds since the Unix epoch.
        done: How much of the stage is done, in the stage's own units.
        total: How much the stage has in all; 0 if unknown.
        loss: The latest loss; None before the first.
        model_version: The version it published; empty until then.
        failure: Why it failed; empty if it did not.

    Raises:
        ValueError: If a value is of another kind, or out of range.
    """

    stage: str
    mode: str
    request_id: str
    started_ms: int
    updated_ms: int = 0
    done: int = 0
    total: int = 0
    loss: float | None = None
    model_version: str = ""
    failure: str = ""

    def __post_init__(self) -> None:
        for name in ("stage", "mode", "request_id", "model_version", "failure"):
            value = getattr(self, name)
            if not isinstance(value, str):
                raise ValueError(f"{name}: wanted a string, got {value!r}")
            value.encode()  # Half a surrogate pair, which JSON can say, cannot be told either.
        for name, most in (("started_ms", _MAX_MS), ("updated_ms", _MAX_MS), ("done", _MAX_DONE), ("total", _MAX_DONE)):
            value = getattr(self, name)
            if not isinstance(value, int) or not 0 <= value <= most:
                raise ValueError(f"{name}: wanted a whole number from 0 to {most}, got {value!r}")
        if self.loss is not None and not isinstance(self.loss, int | float):
            raise ValueError(f"loss: wanted a number, got {self.loss!r}")


class TrainingFolder:
    """A folder beside the models: one file for each open request, and one file with the trainer's progress.

    A request is a file that is deleted when it has been answered. So server and trainer need no connection, and a
    request outlives a restart of either.

    Args:
        url: A folder or an fsspec URL.
    """

    def __init__(self, url: str) -> None:
        self._storage = Storage(url)
        self._unreadable: set[str] = set()  # Paths that a warning has been logged for.

    @classmethod
    def beside_models(cls, settings: Settings) -> "TrainingFolder":
        """Return the folder ``training`` next to the registry's own."""
        parent, separator, _ = settings.model.url.rstrip("/").rpartition("/")
        return cls(f"{parent}{separator}training")

    def ask(self, mode: TrainingMode | None, checkpoint: str, reason: str = "") -> TrainingRequest:
        """Write a request for a training, and return it.

        Args:
            mode: How to train; None leaves it to the trainer.
            checkpoint: Name of the checkpoint written for it.
            reason: Why, in words.
        """
        request = TrainingRequest(secrets.token_hex(8), mode, checkpoint, wall_ms(), reason)
        self._storage.write(_file_of(request.request_id), json.dumps(dataclasses.asdict(request)).encode())
        return request

    def requests(self) -> list[TrainingRequest]:
        """Return the open requests, the oldest first; a file that is no request is logged once and not deleted."""
        requests = []
        for name in self._storage.list(_REQUESTS):
            path = f"{_REQUESTS}/{name}"
            try:
                requests.append(TrainingRequest(**json.loads(self._storage.read(path))))
            except FileNotFoundError:  # Closed since it was listed.
                continue
            except _UNREADABLE as error:
                self._warn_once("training_request_unreadable", path, error)
        return sorted(requests, key=lambda request: (request.created_ms, request.request_id))

    def close(self, request_id: str) -> None:
        """Delete a request that has been answered."""
        self._storage.delete(_file_of(request_id))

    def write_status(self, status: TrainingStatus) -> None:
        """Write the trainer's progress, over what was written before."""
        self._storage.write(_STATUS, json.dumps(dataclasses.asdict(status)).encode())

    def status(self) -> TrainingStatus | None:
        """Return what the trainer wrote last; None if it has written nothing yet.

        What cannot be read, such as the status of a newer trainer, is logged once, and its stage is ``unreadable``.
        """
        try:
            fields: dict[str, Any] = json.loads(self._storage.read(_STATUS))
            return TrainingStatus(**fields)
        except FileNotFoundError:
            return None
        except (*_UNREADABLE, OSError) as error:
            self._warn_once("training_status_unreadable", _STATUS, error)
            reason = f"{type(error).__name__} in training/{_STATUS}; the next training writes it anew"
            return TrainingStatus("unreadable", mode="", request_id="", started_ms=0, failure=reason)

    def _warn_once(self, event: str, path: str, error: Exception) -> None:
        if path not in self._unreadable:
            logger.warning(event, path=self._storage.path(path), reason=str(error))
            self._unreadable.add(path)


def _file_of(request_id: str) -> str:
    return f"{_REQUESTS}/{request_id}.json"
