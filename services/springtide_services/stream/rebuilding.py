"""Making a state anew from the topic, beside a server or without one."""

from collections.abc import Sequence
from dataclasses import dataclass

from springtide.clock import wall_ms
from springtide.events.skips import SkipFilter, Skips
from springtide.plugins.loading import Plugins
from springtide.ranking.weights import make_context_weights
from springtide.settings.model import Settings
from springtide.state import LeftOut, LiveState
from springtide_services.stream.replay import OnProgress, Replay


@dataclass(frozen=True, slots=True)
class Rebuilt:
    """A state that was made anew.

    Attributes:
        state: The state, as far as the topic goes.
        num_records: How many records the topic had.
        num_refused: How many events were refused.
    """

    state: LiveState
    num_records: int
    num_refused: int


def rebuilt_url(settings: Settings) -> str:
    """Return where a rebuilt state is handed to the server: a folder beside the server's own checkpoints."""
    return f"{settings.checkpoint.url.rstrip('/')}/rebuilt"


def rebuild_state(
    settings: Settings,
    plugins: Plugins,
    skips: Skips,
    earlier: Sequence[LeftOut] = (),
    on_progress: OnProgress | None = None,
    *,
    from_what_is_left: bool = False,
) -> Rebuilt:
    """Read the topic from its beginning into a new state, under the settings as they are.

    Args:
        settings: All settings.
        plugins: Where context weights and decoders come from.
        skips: What to leave out.
        earlier: What former rebuilds left out, and this one leaves out, too.
        on_progress: Called with the number of records read, and that of all as far as is known.
        from_what_is_left: Whether to read a topic that has lost its beginning.

    Raises:
        RebuildError: If the topic has lost its beginning.
        BrokerError: If the broker does not answer, or refuses.
    """
    sets = [(each.skips, each.since_ms) for each in earlier]
    if skips and skips not in (each for each, _ in sets):
        sets.append((skips, wall_ms()))
    skip_filter = SkipFilter([each for each, _ in sets]) if sets else None
    state = LiveState(settings, make_context_weights(settings.ranking, plugins))
    replay = Replay(settings, state, plugins.make_decoders(settings.events), skip_filter)
    replay.run(on_progress, from_what_is_left=from_what_is_left)
    if skip_filter is not None:
        state.left_out = tuple(
            LeftOut(each, since_ms, {words: skip_filter.counts[words] for words in each.describe()})
            for each, since_ms in sets
        )
    return Rebuilt(state, replay.num_records, replay.num_refused)
