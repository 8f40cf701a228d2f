"""The calls of the InspectionService about seasons: the demand for an item over time, and what is in season."""

import threading
import time
import weakref
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from springtide.clock import wall_ms
from springtide.errors import InvalidRequestError, SettingsError
from springtide.interactions import Moment
from springtide.ranking.seasons import Seasons, Span, weights_with_seasons
from springtide.settings.model import Settings
from springtide.state import LiveState
from springtide.v1 import inspection_pb2 as pb
from springtide_services.serving.inspection.base import InspectionBase, IsOver
from springtide_services.serving.request_limits import MAX_EXPRESSION_BYTES, check_bytes, check_word
from springtide_services.serving.request_translation import to_ms
from springtide_services.serving.statuses import Context, NotFoundError, bounded, with_deadline_and_status

_WEIGHT = "calendar"  # The context weight that is read if a request names none.
_DEFAULT_PAGE_SIZE, _MAX_PAGE_SIZE = 20, 200
_MIN_INTERACTIONS = 20.0
_KEPT_S = 60.0  # A season changes slowly; the profiles of a million items take seconds.
_MAX_KEPT = 256  # Answers, of about a kilobyte each.


class SeasonsInspection(InspectionBase):
    """Answers GetSeason and ListInSeason.

    Args:
        settings: Name the groups of items, their names and the options of the context weights.
    """

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self._seasons = KeptSeasons(settings)

    @with_deadline_and_status
    @bounded
    async def GetSeason(  # noqa: N802  # The proto's name.
        self, request: pb.GetSeasonRequest, context: Context[pb.GetSeasonRequest, pb.GetSeasonResponse]
    ) -> pb.GetSeasonResponse:
        """Return the demand for an item or a category over the year, the week and the day."""
        state = self.parts().state
        return await self.look(context, lambda is_over: self._seasons.season(state, request, is_over))

    @with_deadline_and_status
    @bounded
    async def ListInSeason(  # noqa: N802  # The proto's name.
        self, request: pb.ListInSeasonRequest, context: Context[pb.ListInSeasonRequest, pb.ListInSeasonResponse]
    ) -> pb.ListInSeasonResponse:
        """List the items that are most in season at a moment."""
        state = self.parts().state
        return await self.look(context, lambda is_over: in_season(state, self.settings, request))


@dataclass(slots=True)
class _Kept:
    """What was made for a request.

    Attributes:
        begun_s: When it was begun.
        lifts: Those that were made until now, by span.
        answer: The answer, once it is whole.
    """

    begun_s: float
    lifts: dict[Span, list[float]] = field(default_factory=dict)
    answer: pb.GetSeasonResponse | None = None


class KeptSeasons:
    """Answers about seasons, each kept for a minute, since it takes the lifts of all items at a hundred moments.

    Of a million items on a busy machine that may take longer than a call may. Then what was made is kept, too: who asks
    again goes on from there.

    Args:
        settings: As those of ``SeasonsInspection``.
        clock_s: A monotonic clock, in seconds.
    """

    def __init__(self, settings: Settings, clock_s: Callable[[], float] = time.monotonic) -> None:
        self._settings = settings
        self._clock_s = clock_s
        self._lock = threading.Lock()  # Guards the attributes below.
        self._state: weakref.ref[LiveState] | None = None  # A former state must not stay because of its answers.
        self._kept: OrderedDict[tuple[str, str], _Kept] = OrderedDict()

    def season(self, state: LiveState, request: pb.GetSeasonRequest, is_over: IsOver) -> pb.GetSeasonResponse:
        """Return the profiles that a request asks for; from any thread.

        Args:
            state: The live state.
            request: The request.
            is_over: Whether nobody waits for it any more.

        Raises:
            InvalidRequestError: If the name is empty or too long, or there is no such context weight.
            NotFoundError: If there is no such item or category; the message names similar ones.
            SettingsError: If the settings have no context weight with seasons.
            TimeoutError: If nobody waits for it any more.
        """
        if not request.name:
            raise InvalidRequestError("name", "wanted an item's id or ATTRIBUTE=VALUE, got an empty string")
        check_bytes(request.name, "name", MAX_EXPRESSION_BYTES)
        weight, others = _weight_of(state, request.weight)
        key, now_s = (weight, request.name), self._clock_s()
        with self._lock:
            if self._state is None or self._state() is not state:
                self._state = weakref.ref(state)
                self._kept.clear()
            kept = self._kept.get(key)
            if kept is None or now_s - kept.begun_s > _KEPT_S:
                kept = _Kept(now_s)
            lifts = {span: [*of_span] for span, of_span in kept.lifts.items()}  # Two may ask for the same at once.
        if kept.answer is not None:
            return kept.answer
        answer = None
        try:
            answer = _season(Seasons.of_state(state, self._settings, weight), request.name, others, lifts, is_over)
        finally:
            with self._lock:
                if lifts and self._state() is state:  # Else there is nothing to keep, or another one is served since.
                    self._kept.pop(key, None)
                    self._kept[key] = _Kept(kept.begun_s, lifts, answer)
                    if len(self._kept) > _MAX_KEPT:
                        self._kept.popitem(last=False)
        return answer


def in_season(state: LiveState, settings: Settings, request: pb.ListInSeasonRequest) -> pb.ListInSeasonResponse:
    """Return the items that are most in season at a moment.

    Raises:
        InvalidRequestError: If a field is outside its limits, or there is no such context weight.
        SettingsError: If the settings have no context weight with seasons.
    """
    if not 0 <= request.page_size <= _MAX_PAGE_SIZE:
        raise InvalidRequestError("page_size", f"wanted 0 to {_MAX_PAGE_SIZE}, got {request.page_size:,}")
    least = request.min_interactions if request.HasField("min_interactions") else _MIN_INTERACTIONS
    if not 0 <= least < np.inf:
        raise InvalidRequestError("min_interactions", f"wanted a number from 0 on, got {least}")
    if request.HasField("event_time"):
        as_of_ms = to_ms(request.event_time, "event_time")
    else:
        as_of_ms = state.clock.read(wall_ms()).timestamp_ms
    weight, _ = _weight_of(state, request.weight)
    seasons = Seasons.of_state(state, settings, weight)
    lifts = seasons.at(Moment(as_of_ms))
    product = np.prod(list(lifts.values()), axis=0)
    product[seasons.num_interactions < least] = -np.inf
    best = np.argsort(-product, kind="stable")[: request.page_size or _DEFAULT_PAGE_SIZE]
    return pb.ListInSeasonResponse(
        items=[
            pb.ItemInSeason(
                item=seasons.items.ids.id(row),
                name=seasons.title(row),
                group=seasons.group(row),
                lift=product[row],
                lifts={span: float(of_span[row]) for span, of_span in lifts.items()},
                num_interactions=int(seasons.num_interactions[row]),
            )
            for row in best[np.isfinite(product[best])].tolist()
        ],
        as_of_ms=as_of_ms,
    )


def _season(
    seasons: Seasons, name: str, others: list[str], lifts: dict[Span, list[float]], is_over: IsOver
) -> pb.GetSeasonResponse:
    """Return a whole answer; ``lifts`` has some of the lifts already, and gets the others."""
    try:
        rows = seasons.rows_of(name)
    except InvalidRequestError as error:
        raise NotFoundError(error.message) from error
    for span in seasons.spans:
        of_span = lifts.setdefault(span, [])
        for lift in seasons.lifts_over(span, rows, len(of_span)):
            of_span.append(lift)
            if is_over():
                raise TimeoutError
    counts = seasons.num_at_points(rows)
    is_item = len(rows) == 1 and seasons.items.ids.row(name) == rows[0]
    return pb.GetSeasonResponse(
        profiles=[
            pb.SeasonProfile(span=span, lifts=lifts[span], counts=counts[span].tolist()) for span in seasons.spans
        ],
        title=seasons.title(int(rows[0])) if is_item else name,
        num_items=len(rows),
        num_interactions=int(seasons.num_interactions[rows].sum()),
        weights=others,
    )


def _weight_of(state: LiveState, name: str) -> tuple[str, list[str]]:
    """Return the context weight that a request names, and the others that have seasons.

    Raises:
        InvalidRequestError: If none of this name has seasons.
        SettingsError: If the request names none, and there is no ``calendar``.
    """
    check_word(name, "weight", may_be_empty=True)
    choices = weights_with_seasons(state.context_weights)
    weight = name or _WEIGHT
    if weight not in choices:
        problem = f"no context weight {weight!r} that knows seasons (choices: {', '.join(choices) or 'none'})"
        raise InvalidRequestError("weight", problem) if name else SettingsError(problem)
    return weight, [each for each in choices if each != weight]
