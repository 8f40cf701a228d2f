"""The `protos` command: the interfaces as files, for the generators of other languages."""

from pathlib import Path
from typing import Annotated

import typer


def protos(
    folder: Annotated[Path, typer.Argument(help="Folder to write them into; made if it is not there.", metavar="DIR")],
) -> None:
    """Write the protos of this version into a folder, to generate clients of other languages from."""
    from springtide.errors import SettingsError
    from springtide_services.gateway.proto_files import proto_files

    written = []
    for name, content in proto_files():
        path = folder / "springtide" / "v1" / name
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        except OSError as error:
            raise SettingsError(f"{path} cannot be written: {error.strerror}") from error
        written.append(str(path))
    for path_name in written:
        typer.echo(path_name)
