"""Print the arrows between rooms: who imports whom, how often, and which arrows close a circle.

A room is a folder of the code, or a file that stands alone beside folders. `--ref` looks at another revision.
"""

import argparse
import ast
import io
import subprocess
import tarfile
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import networkx as nx

ROOT = Path(__file__).parents[1]
ROOTS = {"springtide": "core", "springtide_plugins": "plugins", "springtide_services": "services"}
GENERATED = "springtide.v1"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--ref", help="a revision of git; the working tree if absent")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        tree = ROOT
        if arguments.ref:
            tree = Path(folder)
            archive = subprocess.run(
                ["git", "archive", arguments.ref, *ROOTS.values()], cwd=ROOT, capture_output=True, check=True
            )
            with tarfile.open(fileobj=io.BytesIO(archive.stdout)) as archived:
                archived.extractall(tree, filter="data")
        report(tree)


def report(tree: Path) -> None:
    """Print every arrow between two rooms, and a last line that counts them."""
    modules = {module_of(path, tree): path for path in sources(tree)}
    arrows: Counter[tuple[str, str]] = Counter()
    for module, path in modules.items():
        for imported in imports_of(path, modules):
            here, there = room_of(module), room_of(imported)
            if here != there:
                arrows[here, there] += 1
    graph = nx.DiGraph(arrows.keys())
    circles = [rooms for rooms in nx.strongly_connected_components(graph) if len(rooms) > 1]
    in_circle = {room: number for number, rooms in enumerate(circles, start=1) for room in rooms}
    for (here, there), count in sorted(arrows.items()):
        number = in_circle.get(here)
        is_back = number is not None and number == in_circle.get(there)
        print(f"{here} -> {there}  {count}" + (f"  in circle {number}" if is_back else ""))
    for number, rooms in enumerate(circles, start=1):
        print(f"circle {number}: {', '.join(sorted(rooms))}")
    rooms = {room_of(module) for module in modules}
    print(f"{len(rooms)} rooms, {len(arrows)} arrows between them, {len(circles)} circles")


def sources(tree: Path) -> Iterator[Path]:
    for package, folder in ROOTS.items():
        yield from sorted((tree / folder / package).rglob("*.py"))


def module_of(path: Path, tree: Path) -> str:
    parts = path.relative_to(tree).with_suffix("").parts[1:]
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def room_of(module: str) -> str:
    """Return the folder below the package that a module lies in, or the module itself if it lies in none."""
    return ".".join(module.split(".")[:2])


def imports_of(path: Path, modules: dict[str, Path]) -> set[str]:
    """Return the modules that a file imports, wherever in it; those for type checkers alone count too."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom) and node.module and not node.level:
            inner = {f"{node.module}.{alias.name}" for alias in node.names} & modules.keys()
            names = [*inner] or [node.module]
        found.update(name for name in names if name in modules and not name.startswith(GENERATED))
    return found


if __name__ == "__main__":
    main()
