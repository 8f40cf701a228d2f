"""Which circumstances of a data set an evaluation asks for, and which none of its parts looks at."""

from springtide.evaluation.data.datasets import Dataset
from springtide.plugins.loading import Plugins
from springtide.ranking.weights import make_context_weights
from springtide.settings.model import Settings


def context_keys_of(settings: Settings, plugins: Plugins) -> tuple[str, ...]:
    """Return the circumstances that the context weights of the settings look at, each once.

    Raises:
        UnknownPartError: If no plugin offers one of the weights.
        SettingsError: If one does not take its options.
    """
    weights = make_context_weights(settings.ranking, plugins)
    return tuple(dict.fromkeys(key for weight in weights.values() for key in weight.context_keys))


def note_on_unused(dataset: Dataset, settings: Settings, plugins: Plugins) -> str:
    """Return which circumstances of a data set no context weight of the settings looks at; empty if there are none.

    Raises:
        UnknownPartError: If no plugin offers one of the weights.
        SettingsError: If one does not take its options.
    """
    contexts = dataset.interactions.contexts
    if contexts is None:
        return ""
    maps = {id(context): context for context in contexts}  # Rows that share all circumstances share one map.
    found = dict.fromkeys(key for context in maps.values() for key, value in context.items() if value)
    looked_at = context_keys_of(settings, plugins)
    unused = [key for key in found if key not in looked_at]
    if not unused:
        return ""
    return (
        f"circumstances that no context weight looks at: {', '.join(unused)} (the context weight attribute takes any, "
        "by its names)"
    )
