"""The protos as they were written, with their comments."""

from collections.abc import Iterator
from pathlib import Path

import springtide


def proto_files() -> Iterator[tuple[str, bytes]]:
    """Yield names and contents of the protos: a wheel has them in the package, a checkout in its own folder.

    Raises:
        FileNotFoundError: If they are in neither.
    """
    assert springtide.__file__ is not None, "a package with a file"
    package = Path(springtide.__file__).parent
    for folder in (package / "v1", package.parents[1] / "protos" / "springtide" / "v1"):
        found = sorted(folder.glob("*.proto"))
        if found:
            yield from ((path.name, path.read_bytes()) for path in found)
            return
    raise FileNotFoundError(f"no protos in {package / 'v1'}")
