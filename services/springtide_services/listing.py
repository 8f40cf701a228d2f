"""Models and plugins as tables."""

from datetime import UTC, datetime

from rich.table import Table

from springtide.clock import MS_PER_SECOND
from springtide.config import Settings
from springtide.models import ModelStore
from springtide.plugins.loading import KINDS, load_plugins
from springtide_services.terminal import console


def show_models(settings: Settings) -> None:
    """Print the models of the registry, newest first."""
    store = ModelStore(settings.model.url, settings.model.keep)
    versions = store.versions()
    current = store.current()
    if not versions:
        console().print(f"no models yet in {settings.model.url}")
        return
    table = Table("version", "current", "made", "by", "interactions", "metrics", box=None, pad_edge=False)
    for version in versions:
        manifest = store.manifest(version)
        made = datetime.fromtimestamp(manifest.created_ms / MS_PER_SECOND, UTC)
        metrics = ", ".join(f"{name} {value:.4f}" for name, value in manifest.metrics.items())
        table.add_row(
            version,
            "yes" if version == current else "",
            f"{made:%Y-%m-%d %H:%M} UTC",
            manifest.training,
            f"{manifest.graph_cut['num_interactions']:,}",
            metrics,
        )
    console().print(table)


def show_plugins(settings: Settings) -> None:
    """Print the parts that plugins offer, by kind."""
    parts = sorted(load_plugins(settings.plugins).parts, key=lambda part: (list(KINDS).index(part.kind), part.name))
    table = Table("kind", "name", "from", "what it is", box=None, pad_edge=False)
    for part in parts:
        table.add_row(part.kind, part.name, part.origin, part.summary)
    console().print(table)
