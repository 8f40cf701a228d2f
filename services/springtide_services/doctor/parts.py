"""Plugins that cannot be loaded or are not let in, and packages that a process would miss."""

import importlib.util
from collections.abc import Iterator

from springtide.errors import SpringtideError
from springtide.plugins.loading import load_plugins
from springtide.settings.model import Settings
from springtide_services.findings import Finding, Level

_TRAINING = ("torch", "torch_geometric", "numba")


def plugin_findings(settings: Settings) -> Iterator[Finding]:
    """Yield which plugins fail, and which are installed and not let in; all that are let in are imported."""
    try:
        plugins = load_plugins(settings.plugins.model_copy(update={"on_error": "skip"}))
        failures = plugins.failures
        plugins.check_serving(settings)
    except SpringtideError as error:
        yield Finding("plugins", Level.FAILURE, str(error), "Mend the setting, or install the plugin.")
        return
    for failure in failures:
        refuses = settings.plugins.on_error == "refuse"
        yield Finding(
            "plugins",
            Level.FAILURE if refuses else Level.WARNING,
            f"{failure}: " + ("the server does not start" if refuses else "it is left out"),
            "Mend it, or leave it out of [plugins].",
        )
    for package in plugins.not_allowed:
        yield Finding(
            "plugins",
            Level.WARNING,
            f"{package.distribution} {package.version} offers plugins, and plugins.allow does not name it: nothing of "
            "it is loaded",
            f'Add it if you trust it: plugins.allow = ["{package.distribution}"].',
        )
    if not failures:
        yield Finding("plugins", Level.OK, "all that are let in can be loaded")


def package_findings(settings: Settings) -> Iterator[Finding]:
    """Yield which optional packages the settings need, and are missing."""
    missing = [package for package in _TRAINING if importlib.util.find_spec(package) is None]
    if missing:
        yield Finding(
            "packages",
            Level.UNKNOWN,
            f"{', '.join(missing)} not installed: nothing can be trained here, which a server does not need",
            "Install them where the trainer runs.",
            "pip install 'springtide[train]'",
        )
    for is_wanted, package, extra in (
        (settings.server.engine == "native", "pygrpc_native", "native"),
        (settings.ranking.index is not None, "usearch", "index"),
        ("://" in settings.checkpoint.url + settings.model.url, "obstore", "s3"),
        (bool(settings.tracing.endpoint), "opentelemetry", "tracing"),
    ):
        if is_wanted and importlib.util.find_spec(package) is None:
            command = f"pip install 'springtide[{extra}]'"
            yield Finding(
                "packages", Level.FAILURE, f"{package} is not installed, and the settings need it", "", command
            )
