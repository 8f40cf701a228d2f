"""What tests of all checks share."""

from collections.abc import Callable

import pytest

from springtide.conformance import CHECKS, run_checks
from springtide.plugins.loading import Plugins
from springtide.settings.model import PartSettings

Failures = dict[str, tuple[str, str]]


@pytest.fixture
def failures_of() -> Callable[..., Failures]:
    """Run the checks of a kind, or one of them by its name; return what was wanted and got by each that fails."""

    def find(kind: str, factory: Callable[..., object], plugins: Plugins | None = None, only: str = "") -> Failures:
        offered = (plugins or Plugins([])).with_part(kind, "faulty", factory)
        checks = [check for check in CHECKS[kind] if only in ("", check.name)]
        assert checks, only
        results = run_checks(kind, PartSettings(name="faulty"), offered, checks=checks)
        return {result.check.name: (result.wanted, result.got) for result in results if not result.has_passed}

    return find
