"""How `plugins new` writes a project, and `plugins check` checks a plugin."""

import importlib.util
import keyword
import re
import sys
from collections.abc import Mapping
from importlib import resources
from pathlib import Path

from rich.console import Console
from rich.text import Text

from springtide.conformance import run_checks
from springtide.errors import PluginError, SpringtideError
from springtide.plugins.loading import KINDS, Part, Plugins, load_one, load_plugins
from springtide.settings.model import PartSettings, PluginSettings
from springtide_services.terminal import console

_TEMPLATE = "springtide_services.cli.plugin_template"
_NAME = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*")

_SETTINGS: Mapping[str, str] = {
    "encoder": '[model]\nencoder = "my_part"',
    "aggregator": '[model]\naggregator = "my_part"',
    "loss": '[model]\nloss = "my_part"',
    "negative sampler": '[model]\nnegatives = "my_part"',
    "task": '[model.tasks.my_part]\nname = "my_part"',
    "context weight": "[ranking.context_weights]\nmy_part = {}",
    "baseline": "[gate.baselines]\nmy_part = {}",
    "decoder": "[events.decoders]\nconfluent = {}\ncloudevents = {}\nmy_part = {}",
    "index": '[ranking]\nindex = "my_part"\nindex_min_items = 1_000_000',
    "reranker": "[ranking.rerankers]\nmmr = {}\nmy_part = {}",
}
"""TOML that chooses a part, by kind."""


def new_plugin(name: str, kind: str, parent: Path) -> None:
    """Write a project with one part, its tests and a README, and print the next steps.

    Args:
        name: Name of the project and of the part; ``my-part`` and ``my_part`` are the same.
        kind: Kind of the part, one of ``KINDS``.
        parent: Folder in which the project's folder is created.

    Raises:
        PluginError: If the name cannot be used, or a folder of that name exists.
    """
    module = module_name_of(name)
    _refuse_taken_name(module, kind)
    folder = parent / module.replace("_", "-")
    try:
        folder.mkdir(parents=True)
    except OSError as error:
        raise PluginError(f"wanted a new folder, got {folder}: {error.strerror}") from error
    for path, text in project_files(module, kind).items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text, encoding="utf-8")
    shown = console()
    shown.print(f"The {kind} {module} is in {folder}. What to do next:\n", markup=False)
    steps = {
        f"cd {folder}": "",
        "pip install -e .[dev]": f'beside Springtide, whose settings let it in: [plugins] allow = ["{folder.name}"]',
        "pytest": "its tests pass",
        f"springtide plugins check {module}": f"the checks that every {kind} must pass",
        "springtide plugins list": "all parts, and which plugins are loaded",
    }
    width = max(map(len, steps))
    for step, reason in steps.items():
        shown.print(Text(f"  {step:<{width}}").append(f"  {reason}", style="dim"))


def module_name_of(name: str) -> str:
    """Return the module's name.

    Raises:
        PluginError: If no module can have that name.
    """
    module = re.sub(r"[-\s]+", "_", name.strip()).lower()
    if not _NAME.fullmatch(module) or keyword.iskeyword(module):
        raise PluginError(f"wanted a name of letters and digits with hyphens between, such as my-encoder, got {name!r}")
    return module


def project_files(module: str, kind: str) -> dict[str, str]:
    """Return the text of each file of a project, by its path."""
    template = resources.files(_TEMPLATE)
    stem = kind.replace(" ", "_")
    files = {
        "pyproject.toml": "pyproject.toml.in",
        "README.md": "README.md.in",
        f"src/{module}/__init__.py": f"{stem}.py",
        f"tests/test_{module}.py": f"test_{stem}.py",
    }
    names = {
        "SETTINGS": _SETTINGS[kind],
        "KIND": kind,
        "my_part": module,
        "my-part": module.replace("_", "-"),
        "MyPart": "".join(word.capitalize() for word in module.split("_")),
    }
    texts = {}
    for path, source in files.items():
        text = template.joinpath(source).read_text(encoding="utf-8")
        for placeholder, name in names.items():
            text = text.replace(placeholder, name)
        texts[path] = text
    return texts


def check_plugin(source: str, settings: PluginSettings) -> bool:
    """Run the checks on every part of a plugin, and print the result of each.

    Args:
        source: Name of the plugin's module, or path of its file.
        settings: Other plugins, whose parts it may make.

    Returns:
        Whether all checks have passed.

    Raises:
        PluginError: If the plugin cannot be loaded, or offers no part.
    """
    if "" not in sys.path:
        sys.path.insert(0, "")  # As with `python -m`: modules of the working directory are found.
    plugins = load_one(source, settings)
    parts = [part for part in plugins.parts if part.plugin == source]
    if not parts:
        raise PluginError(f"plugin {source!r} offers no part: wanted one of {', '.join(KINDS.values())}")
    shown = console()
    num_checks, num_failed = 0, 0
    for part in parts:
        num_of_part, num_failed_of_part = _check_part(part, plugins, shown)
        num_checks, num_failed = num_checks + num_of_part, num_failed + num_failed_of_part
    counted = f"{num_checks} checks of {len(parts)} part{'s' if len(parts) > 1 else ''}"
    shown.print(f"{counted}: " + (f"[red]{num_failed} failed[/]" if num_failed else "[green]all passed[/]"))
    return num_failed == 0


def _check_part(part: Part, plugins: Plugins, shown: Console) -> tuple[int, int]:
    """Print the results of a part's checks; return the number of checks and the number of failures."""
    shown.print(Text(f"{part.kind} {part.name}", style="bold"))
    try:
        results = run_checks(part.kind, PartSettings(name=part.name), plugins)
    except SpringtideError as error:
        _print_failure(shown, "it can be created", "", str(error))
        return 1, 1
    for result in results:
        if result.has_passed:
            shown.print(f"  [green]✓[/] {result.check.name}")
        else:
            _print_failure(shown, result.check.name, result.check.reason, f"wanted {result.wanted}, got {result.got}")
    return len(results), sum(not result.has_passed for result in results)


def _print_failure(shown: Console, name: str, reason: str, finding: str) -> None:
    shown.print(f"  [red]✗ {name}[/]")
    for line in filter(None, (reason, finding)):
        shown.print(f"      {line}", markup=False)


def _refuse_taken_name(module: str, kind: str) -> None:
    """Refuse the name of an installed module, or of an existing part of the kind: it would be found first."""
    if importlib.util.find_spec(module) is not None:
        raise PluginError(f"wanted a name that no module has, got {module!r}, which can already be imported here")
    for part in load_plugins(PluginSettings(on_error="skip")).parts:
        if (part.kind, part.name) == (kind, module):
            raise PluginError(f"wanted a name that no {kind} has, got {module!r}, which {part.origin} offers")
