"""Where server and trainer meet: requests for trainings, and how far the trainer is."""

import dataclasses
import json
import secrets
from dataclasses import dataclass
from typing import Any

import structlog

from springtide.clock import wall_ms
from springtide.settings.model import Settings
from springtide.storage import Storage
from springtide_services.training.schedule import Mode, TrainingRequest

logger = structlog.stdlib.get_logger(__name__)

_REQUESTS = "requests"
_STATUS = "status.json"


@dataclass(frozen=True, slots=True)
class TrainingStatus:
    """What the trainer is doing, or did last.

    Attributes:
        stage: ``load``, a stage of the training, ``publish``; then ``done`` or ``failed``.
        mode: How it trains.
        request_id: Who asked for it; empty when the schedule did.
        started_ms: When it began, milliseconds since the Unix epoch.
        updated_ms: When this was said.
        done: How much of the stage is done, in its own units.
        total: How much the stage has in all; 0 when it cannot tell.
        loss: The latest loss; None before the first.
        model_version: What was published; empty until then.
        failure: Why it failed; empty when it did not.
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


class TrainingFolder:
    """A folder beside the models: one file for each open request, and one that the trainer's progress is written to.

    A request is a file that appears whole and is deleted when it has been answered, so that server and trainer need
    no connection, and a request survives both.

    Args:
        url: A folder or an fsspec URL.
    """

    def __init__(self, url: str) -> None:
        self._storage = Storage(url)
        self._unreadable: set[str] = set()

    @classmethod
    def beside_models(cls, settings: Settings) -> "TrainingFolder":
        """Return the folder ``training`` next to the registry's own."""
        parent, separator, _ = settings.model.url.rstrip("/").rpartition("/")
        return cls(f"{parent}{separator}training")

    def ask(self, mode: Mode | None, checkpoint: str, reason: str = "") -> TrainingRequest:
        """Ask for a training.

        Args:
            mode: How; None leaves it to the trainer.
            checkpoint: The name of the checkpoint written for it.
            reason: Why, in words.
        """
        request = TrainingRequest(secrets.token_hex(8), mode, checkpoint, wall_ms(), reason)
        self._storage.write(_file_of(request.request_id), json.dumps(dataclasses.asdict(request)).encode())
        return request

    def requests(self) -> list[TrainingRequest]:
        """Return the open requests, the oldest first; a file that is not one is logged once and left where it is."""
        requests = []
        for name in self._storage.list(_REQUESTS):
            path = f"{_REQUESTS}/{name}"
            try:
                requests.append(TrainingRequest(**json.loads(self._storage.read(path))))
            except FileNotFoundError:  # Closed since it was listed.
                continue
            except (ValueError, TypeError) as error:
                if path not in self._unreadable:
                    logger.warning("training_request_unreadable", path=self._storage.path(path), reason=str(error))
                    self._unreadable.add(path)
        return sorted(requests, key=lambda request: (request.created_ms, request.request_id))

    def close(self, request_id: str) -> None:
        """Take a request away, because it has been answered."""
        self._storage.delete(_file_of(request_id))

    def write_status(self, status: TrainingStatus) -> None:
        """Tell how far the trainer is."""
        self._storage.write(_STATUS, json.dumps(dataclasses.asdict(status)).encode())

    def status(self) -> TrainingStatus | None:
        """Return what the trainer said last; None if it has said nothing yet."""
        try:
            fields: dict[str, Any] = json.loads(self._storage.read(_STATUS))
        except FileNotFoundError:
            return None
        return TrainingStatus(**fields)


def _file_of(request_id: str) -> str:
    return f"{_REQUESTS}/{request_id}.json"
