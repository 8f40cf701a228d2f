"""The `plugins new` and `plugins check` commands, for those who write plugins."""

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
from springtide.plugins.loading import KINDS, Part, Plugins, load_beside_installed, load_plugins
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
}
"""How settings choose a part of each kind."""


def new_plugin(name: str, kind: str, parent: Path) -> None:
    """Write a project with one part, its test and a README, and say what to do with it.

    Args:
        name: Of the project and of the part; ``my-part`` and ``my_part`` are the same.
        kind: Of the part, one of ``KINDS``.
        parent: Folder in which the project's own is made.

    Raises:
        PluginError: If the name cannot be used, or a folder of that name is there.
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
        "pip install -e .[dev]": "Springtide finds it then: springtide plugins list",
        "pytest": "its tests pass as they are",
        f"springtide plugins check {module}": f"each thing that every {kind} must do",
    }
    width = max(map(len, steps))
    for step, reason in steps.items():
        shown.print(Text(f"  {step:<{width}}").append(f"  {reason}", style="dim"))


def module_name_of(name: str) -> str:
    """Return the module's name.

    Raises:
        PluginError: If it cannot be one.
    """
    module = re.sub(r"[-\s]+", "_", name.strip()).lower()
    if not _NAME.fullmatch(module) or keyword.iskeyword(module):
        raise PluginError(f"wanted a name of letters and digits with hyphens between, such as my-encoder, got {name!r}")
    return module


def project_files(module: str, kind: str) -> dict[str, str]:
    """Return the text of each file of a project, by its path."""
    template = resources.files(_TEMPLATE)
    of_kind = kind.replace(" ", "_")
    files = {
        "pyproject.toml": "pyproject.toml.in",
        "README.md": "README.md.in",
        f"src/{module}/__init__.py": f"{of_kind}.py",
        f"tests/test_{module}.py": f"test_{of_kind}.py",
    }
    names = {
        "SETTINGS": _SETTINGS[kind],
        "KIND": kind,
        "my_part": module,
        "my-part": module.replace("_", "-"),
        "MyPart": "".join(word.capitalize() for word in module.split("_")),
    }
    found = {}
    for path, source in files.items():
        text = template.joinpath(source).read_text(encoding="utf-8")
        for name, own in names.items():
            text = text.replace(name, own)
        found[path] = text
    return found


def check_plugin(source: str) -> bool:
    """Check every part of a plugin, and print what each check found.

    Args:
        source: Name of its module, or path of its file.

    Returns:
        Whether all of them do what they must.

    Raises:
        PluginError: If it cannot be loaded, or offers nothing.
    """
    if "" not in sys.path:
        sys.path.insert(0, "")  # As `python -m` has it: a module of this folder is found.
    plugins = load_beside_installed(source)
    parts = [part for part in plugins.parts if part.plugin == source]
    if not parts:
        raise PluginError(f"plugin {source!r} offers no part: wanted one of {', '.join(KINDS.values())}")
    shown = console()
    num_checks, num_failed = 0, 0
    for part in parts:
        of_part, failed = _check_part(part, plugins, shown)
        num_checks, num_failed = num_checks + of_part, num_failed + failed
    of_parts = f"{num_checks} checks of {len(parts)} part{'s' if len(parts) > 1 else ''}"
    shown.print(f"{of_parts}: " + (f"[red]{num_failed} failed[/]" if num_failed else "[green]all passed[/]"))
    return num_failed == 0


def _check_part(part: Part, plugins: Plugins, shown: Console) -> tuple[int, int]:
    """Print what the checks of a part found, and return how many there were, and how many failed."""
    shown.print(Text(f"{part.kind} {part.name}", style="bold"))
    try:
        results = run_checks(part.kind, PartSettings(name=part.name), plugins)
    except SpringtideError as error:
        _print_failure(shown, "it can be made", "", str(error))
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
    """Refuse a name that a module here has, or a part of the kind: both would be found first."""
    if importlib.util.find_spec(module) is not None:
        raise PluginError(f"wanted a name that no module has, got {module!r}, which can be imported here already")
    for part in load_plugins(PluginSettings(on_error="skip")).parts:
        if (part.kind, part.name) == (kind, module):
            raise PluginError(f"wanted a name that no {kind} has, got {module!r}, which {part.origin} offers")
