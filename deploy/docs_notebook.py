"""A notebook as a page of the site: its texts, its code, and what it printed and drew when it last ran.

`docs_notebook.py NOTEBOOK…` runs notebooks and writes into them what they print and draw; `make notebooks` runs all.
"""

import base64
import hashlib
import sys
from pathlib import Path

import nbformat

_CODE_OF_OUTPUTS = "code_of_outputs"  # In the metadata: the digest of the code that the outputs are of.
_OUTPUT = "``` {{ .text .output }}\n{}\n```"  # site.css wraps its lines.
_LIMIT_S = 900  # Of one cell; a busy machine takes many times as long as an idle one.


def page(path: Path) -> tuple[str, dict[str, bytes]]:
    """Return the notebook as Markdown, and its pictures by name."""
    notebook = nbformat.read(path, as_version=4)
    parts: list[str] = []
    images: dict[str, bytes] = {}
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            parts.append(cell.source)
            continue
        parts.append(f"```python\n{cell.source}\n```")
        for output in cell.outputs:
            data = output.get("data", {})
            if output.output_type == "stream":
                parts.append(_OUTPUT.format(output.text.rstrip()))
            elif "image/png" in data:
                name = f"{path.stem}-{len(images) + 1}.png"
                images[name] = base64.b64decode(data["image/png"])
                described = cell.metadata.get("alt") or data.get("text/plain", name)
                parts.append(f"![{described}]({name})")
            elif "text/plain" in data:
                parts.append(_OUTPUT.format(data["text/plain"].rstrip()))
    return "\n\n".join(parts) + "\n", images


def run(path: Path, folder: Path) -> nbformat.NotebookNode:
    """Return the notebook as it is after a run of all its cells, each in its order.

    Args:
        path: The notebook; it is not written.
        folder: Where it runs.

    Raises:
        nbclient.exceptions.CellExecutionError: If a cell raises.
    """
    from nbclient import NotebookClient  # The site's build does without.

    notebook = nbformat.read(path, as_version=4)
    client = NotebookClient(
        notebook, timeout=_LIMIT_S, record_timing=False, resources={"metadata": {"path": str(folder)}}
    )
    client.execute()
    for cell in notebook.cells:
        if cell.cell_type == "code":  # Warnings name paths of the machine.
            cell.outputs = [output for output in cell.outputs if output.get("name") != "stderr"]
    notebook.metadata = {"kernelspec": notebook.metadata["kernelspec"], _CODE_OF_OUTPUTS: code_of(notebook)}
    return notebook


def is_current(path: Path) -> bool:
    """Return whether the outputs in a notebook are of the code that stands there now."""
    notebook = nbformat.read(path, as_version=4)
    return notebook.metadata.get(_CODE_OF_OUTPUTS) == code_of(notebook)


def code_of(notebook: nbformat.NotebookNode) -> str:
    """Return a digest of all the code of a notebook."""
    cells = [cell.source for cell in notebook.cells if cell.cell_type == "code"]
    return hashlib.sha256("\0".join(cells).encode()).hexdigest()


def main() -> None:
    """Run notebooks, and write into them what they print and draw."""
    for name in sys.argv[1:]:
        path = Path(name)
        nbformat.write(run(path, path.parent), path)


if __name__ == "__main__":
    main()
