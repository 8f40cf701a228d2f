"""What parts are looked for in: plugins that are loaded one by one."""

from collections.abc import Mapping, Sequence
from typing import Protocol

from springtide.plugins.part import Failure, Part
from springtide.plugins.sources import LoadedPlugin, NotAllowed


class PartSource(Protocol):
    """Plugins that are loaded one by one, when a part of them is wanted."""

    @property
    def parts(self) -> Mapping[tuple[str, str], Part]:
        """The parts of those that are loaded, by kind and name."""

    @property
    def loaded(self) -> Sequence[LoadedPlugin]:
        """Those that are loaded."""

    @property
    def failures(self) -> Sequence[Failure]:
        """Those that could not be loaded."""

    def not_allowed(self) -> list[NotAllowed]:
        """Return the installed packages whose plugins the settings do not let in."""

    def load_next(self) -> bool:
        """Load one more plugin; return whether there was one."""

    def refuse_failures(self) -> None:
        """Raise PluginError if a plugin could not be loaded, unless the settings say to go on without it."""


class NoMore:
    """No plugins beside the parts that are there."""

    parts: Mapping[tuple[str, str], Part] = {}
    loaded: Sequence[LoadedPlugin] = ()
    failures: Sequence[Failure] = ()

    def not_allowed(self) -> list[NotAllowed]:
        """Return none."""
        return []

    def load_next(self) -> bool:
        """Return that there is none."""
        return False

    def refuse_failures(self) -> None:
        """Do nothing: none has failed."""
