"""Whether a registry of models is whole after its publishers were killed."""

from collections.abc import Iterator, Sequence

from springtide.errors import ModelError
from springtide.model.registry import ModelStore


def faults_of_registry(url: str, published: Sequence[str]) -> Iterator[str]:
    """Yield in words what is wrong with a registry.

    Args:
        url: A local folder.
        published: The versions whose publisher was told that they are published, in order.
    """
    store = ModelStore(url)
    versions = store.versions()
    for version in versions:
        try:
            store.load(version)
        except ModelError as error:
            yield f"models: version {version}: {error}"
    current = store.current()
    if versions and current not in versions:
        yield f"models: the current version {current} is none of {versions}"
    if published and (current is None or current < published[-1]):
        yield f"models: {published[-1]} was published, and the current version is {current}"
    champion = store.load_champion() if versions else None
    if champion is not None and champion.faults:
        yield f"models: damaged: {champion.faults}"
