"""A notebook as a page of the site: its texts, its code, and what it printed and drew when it last ran."""

import base64
from pathlib import Path

import nbformat


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
                parts.append(f"```text\n{output.text.rstrip()}\n```")
            elif "image/png" in data:
                name = f"{path.stem}-{len(images) + 1}.png"
                images[name] = base64.b64decode(data["image/png"])
                parts.append(f"![{data.get('text/plain', name)}]({name})")
            elif "text/plain" in data:
                parts.append(f"```text\n{data['text/plain'].rstrip()}\n```")
    return "\n\n".join(parts) + "\n", images
