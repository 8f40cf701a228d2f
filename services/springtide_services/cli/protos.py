"""The `protos` command: the interfaces as files, for the generators of other languages."""

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer


def protos(
    folder: Annotated[Path, typer.Argument(help="Folder to write them into; made if it is not there.", metavar="DIR")],
) -> None:
    """Write the protos of this version into a folder, to generate clients of other languages from."""
    from springtide.errors import SettingsError

    written = []
    for name, content in _sources():
        path = folder / "springtide" / "v1" / name
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        except OSError as error:
            raise SettingsError(f"{path} cannot be written: {error.strerror}") from error
        written.append(str(path))
    for path_name in written:
        typer.echo(path_name)


def _sources() -> Iterator[tuple[str, bytes]]:
    """Yield the names and contents of the protos: a wheel has them in the package, a checkout in its own folder."""
    import springtide

    package = Path(springtide.__file__).parent
    for folder in (package / "v1", package.parents[1] / "protos" / "springtide" / "v1"):
        found = sorted(folder.glob("*.proto"))
        if found:
            yield from ((path.name, path.read_bytes()) for path in found)
            return
    raise FileNotFoundError(f"no protos in {package / 'v1'}")
