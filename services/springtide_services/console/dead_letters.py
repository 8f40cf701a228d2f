"""The routes of dead letters: how many there are and why, the latest of a reason, and publishing them again."""

import asyncio
import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import structlog
from google.protobuf import json_format
from google.protobuf.message import DecodeError
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from springtide.clock import MS_PER_SECOND
from springtide.errors import BrokerError, InvalidRequestError
from springtide.settings.model import Settings
from springtide.v1 import events_pb2
from springtide_services.access.roles import COUNT_LETTERS, READ_LETTERS, REPLAY_LETTERS
from springtide_services.gateway.events_in import NO_KAFKA
from springtide_services.gateway.refusals import RETRY_AFTER, refusal
from springtide_services.gateway.route_guard import RouteGuard

if TYPE_CHECKING:  # It imports what reads Kafka, and NumPy: where somebody asks.
    from springtide_services.stream.dead_letter_topic import DeadLetter

logger = structlog.stdlib.get_logger(__name__)

_DEFAULT_LIMIT, _MAX_LIMIT = 20, 500
_MAX_SHOWN = 4_000  # Characters of a value.


class DeadLetters:
    """Answers the routes of dead letters. Each reads the topic anew, one after another.

    Args:
        settings: The broker and the topics.
        guard: Who may.
    """

    def __init__(self, settings: Settings, guard: RouteGuard) -> None:
        self._kafka = settings.kafka
        self._guard = guard
        self._pool = ThreadPoolExecutor(1, "dead-letters")

    async def list(self, request: Request) -> Response:
        """Answer with the counts by reason; with ``?reason=`` the latest of these, too, at most ``limit``."""
        reason = request.query_params.get("reason", "")
        limit = request.query_params.get("limit", str(_DEFAULT_LIMIT))
        if not limit.isdecimal() or not 1 <= int(limit) <= _MAX_LIMIT:
            return refusal("invalid_argument", f"limit: wanted 1 to {_MAX_LIMIT}, got {limit!r}", 400)
        admitted = await self._guard.admit(READ_LETTERS if reason else COUNT_LETTERS, request)
        if isinstance(admitted, Response):
            return admitted
        return await self._answer(lambda: self._list(reason, int(limit)))

    async def replay(self, request: Request) -> Response:
        """Publish the letter at ``place``, or all of ``reason``, once more; ``again`` takes those too that were."""
        admitted = await self._guard.admit(REPLAY_LETTERS, request)
        if isinstance(admitted, Response):
            return admitted
        try:
            asked = json.loads(await request.body())
        except (ValueError, RecursionError):
            asked = None
        if not isinstance(asked, dict) or not asked.keys() <= {"place", "reason", "again"}:
            return refusal("invalid_argument", 'wanted {"place": …} or {"reason": …}, perhaps with "again": true', 400)
        place, reason, again = asked.get("place", ""), asked.get("reason", ""), asked.get("again", False)
        if not (isinstance(place, str) and isinstance(reason, str) and isinstance(again, bool)):
            return refusal("invalid_argument", "wanted texts as place and reason, and true or false as again", 400)
        return await self._answer(lambda: self._replay(reason, place, admitted, again=again))

    def close(self) -> None:
        """Take no more requests."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    async def _answer(self, make: Callable[[], Any]) -> Response:
        if not self._kafka.bootstrap_servers:
            return refusal("unimplemented", NO_KAFKA, 501)
        try:
            return JSONResponse(await asyncio.get_running_loop().run_in_executor(self._pool, make))
        except InvalidRequestError as error:
            return refusal("invalid_argument", str(error), 400)
        except BrokerError as error:
            return refusal("unavailable", str(error), 503, {RETRY_AFTER: "1"})

    def _list(self, reason: str, limit: int) -> dict[str, Any]:
        from springtide_services.stream.dead_letter_topic import read_letters
        from springtide_services.stream.letter_choice import count_letters, letters_of

        letters = read_letters(self._kafka)
        reasons = [
            {
                "reason": count.reason,
                "meaning": count.meaning,
                "count": count.num,
                "numReplayed": count.num_replayed,
                "firstTime": _when(count.first_ms),
                "latestTime": _when(count.latest_ms),
            }
            for count in count_letters(letters)
        ]
        answer: dict[str, Any] = {"topic": self._kafka.dead_letter_topic, "reasons": reasons}
        if reason:
            latest = letters_of(letters, reason)[-limit:]
            answer["letters"] = [_letter(letter) for letter in reversed(latest)]
        return answer

    def _replay(self, reason: str, place: str, actor: str, *, again: bool) -> dict[str, Any]:
        from springtide_services.stream.dead_letter_topic import read_letters, replay
        from springtide_services.stream.letter_choice import choose_letters

        chosen = choose_letters(read_letters(self._kafka), reason, place, again=again)
        num_done = sum(1 for _ in replay(self._kafka, chosen.ready))
        logger.info("dead_letters_replayed", actor=actor, reason=reason, place=place, letters=num_done)
        return {
            "numPublished": num_done,
            "numReplayedBefore": chosen.num_before,
            "obstacles": [{"message": words, "count": count} for words, count in chosen.obstacles.items()],
        }


def _letter(letter: "DeadLetter") -> dict[str, Any]:
    """Return a letter as JSON: its value as text, and as an event where it is one."""
    topic, partition, offset = letter.origin
    return {
        "place": letter.place,
        "reason": letter.reason,
        "message": letter.message,
        "origin": {"topic": topic, "partition": partition, "offset": offset},
        "refusedTime": _when(letter.refused_ms),
        "recordTime": _when(letter.record_ms),
        "key": None if letter.key is None else _text(letter.key),
        "headers": [[name, _text(value)] for name, value in letter.headers],
        "numBytes": len(letter.value or b""),
        "text": None if letter.value is None else _text(letter.value),
        "event": _event(letter),
        "rows": letter.rows,
        "replayedTime": None if letter.replayed_ms is None else _when(letter.replayed_ms),
        "obstacle": letter.obstacle,
    }


def _event(letter: "DeadLetter") -> Any:
    """Return the letter's value as protobuf's JSON of an event; None if it is none."""
    if letter.raw or not letter.value:
        return None
    try:
        event = events_pb2.Event.FromString(letter.value)
        if event.WhichOneof("payload") is None:
            return None
        shown = json_format.MessageToDict(event)
    except (DecodeError, json_format.SerializeToJsonError, ValueError):
        return None
    return shown if len(json.dumps(shown)) <= _MAX_SHOWN else None


def _text(content: bytes) -> str:
    text = content.decode(errors="backslashreplace")
    return text if len(text) <= _MAX_SHOWN else f"{text[:_MAX_SHOWN]}…"


def _when(time_ms: int) -> str:
    return datetime.fromtimestamp(time_ms / MS_PER_SECOND, UTC).isoformat().replace("+00:00", "Z")
