"""A hook of MkDocs: pages of the site that stand elsewhere in the repository, or are made from code, and their links.

All links in Markdown are links of the repository: to a file, from the file that they stand in. On the site a link leads
to the page that shows that file. The site does not show all files: a link to another one becomes plain text.
"""

import posixpath
import re
from pathlib import Path, PurePosixPath
from typing import Any

import docs_notebook
import docs_reference
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parents[1]

# The page of the site to the file that it shows; the file stays where it belongs.
SHOWN = {
    "guides/operators.md": "deploy/README.md",
    "guides/plugin-authors.md": "plugins/README.md",
    "guides/clients.md": "protos/examples/clients/README.md",
    "reference/settings.md": "core/springtide/settings/README.md",
    "reference/filters.md": "core/springtide/expressions/README.md",
    "reference/metrics.md": "services/springtide_services/metrics/README.md",
    "reference/steering.md": "core/springtide/steering/README.md",
    "explanation/core.md": "core/README.md",
    "explanation/services.md": "services/README.md",
    "explanation/reasons.md": "core/springtide/explaining/README.md",
    "explanation/evaluation.md": "core/springtide/evaluation/README.md",
    "explanation/threat-model.md": "services/threat-model.md",
    "changelog.md": "CHANGELOG.md",
}
# Pages that are made, and the file that a link to each of them names in the repository.
MADE = {
    "reference/cli.md": ("services/springtide_services/cli/app.py", docs_reference.cli_page),
    "reference/plugin-api.md": ("core/springtide/plugins/contracts/__init__.py", docs_reference.plugin_page),
    **{
        f"reference/{page}.md": (f"protos/springtide/v1/{proto}.proto", docs_reference.proto_page)
        for page, proto in [
            ("recommender", "recommender"),
            ("events", "events"),
            ("admin", "admin"),
            ("steering-service", "steering"),
            ("inspection", "inspection"),
        ]
    },
}
DECISIONS = {f"decisions/{path.name}": f"core/decisions/{path.name}" for path in (ROOT / "core/decisions").glob("*.md")}
NOTEBOOKS = {
    f"notebooks/{path.stem}.md": f"deploy/docs/notebooks/{path.name}"
    for path in (ROOT / "deploy/docs/notebooks").glob("*.ipynb")
}
# Each repository file to its page. Folders lead to the page that stands for them.
PAGES = {
    **{source: page for page, source in {**SHOWN, **DECISIONS, **NOTEBOOKS}.items()},
    **{source: page for page, (source, _) in MADE.items()},
    "README.md": "index.md",
    "core/decisions": f"decisions/{min(DECISIONS).rpartition('/')[2]}",
    "protos/springtide/v1": "reference/recommender.md",
    "core/springtide/settings/sections": "reference/settings.md",
}
_FENCE = re.compile(r"^( *)(```+).*?^\1\2$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"(!?)\[((?:[^\[\]`]|`[^`]*`|\[[^\]]*\])*)\]\(([^)\s]+)\)")
_ITEM = re.compile(r"[-*] |\d+\. ")
_MARK = re.compile(r"^( {2,3})([-*] |\d+\. |```)")


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Name all decision records in the site's navigation."""
    assert config.nav is not None
    (decisions,) = (entry for entry in config.nav if isinstance(entry, dict) and "Decisions" in entry)
    decisions["Decisions"] = sorted(DECISIONS)
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that stand elsewhere, and those that are made."""
    for notebook in [file for file in files if file.src_path.endswith(".ipynb")]:
        files.remove(notebook)  # Its page is shown.
    for page, source in {**SHOWN, **DECISIONS}.items():
        files.append(File.generated(config, page, content=(ROOT / source).read_text(encoding="utf-8")))
    for page, (source, make) in MADE.items():
        files.append(File.generated(config, page, content=make(ROOT / source)))
    for page, source in NOTEBOOKS.items():
        text, images = docs_notebook.page(ROOT / source)
        files.append(File.generated(config, page, content=text))
        for name, content in images.items():
            files.append(File.generated(config, f"notebooks/{name}", content=content))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Turn the repository's Markdown into the site's: links lead to its pages, and lists are read as they look."""
    uri = page.file.src_uri
    source = {**SHOWN, **DECISIONS, **NOTEBOOKS}.get(uri, f"deploy/docs/{uri}")
    if uri in MADE:
        source = MADE[uri][0]
    return outside_fences(list_indents(markdown), lambda text: with_links(text, source, uri))


def outside_fences(text: str, change: Any) -> str:
    """Return the text with all between its blocks of code changed."""
    parts, end = [], 0
    for fence in _FENCE.finditer(text):
        parts += [change(text[end : fence.start()]), fence[0]]
        end = fence.end()
    return "".join([*parts, change(text[end:])])


def with_links(text: str, source: str, uri: str) -> str:
    """Return the text of a file with links to pages of the site; links to files that it does not show become text."""

    def on_site(link: re.Match[str]) -> str:
        is_image, label, target = link.groups()
        path, mark, anchor = target.partition("#")
        if "://" in target or not path or is_image:
            return link[0]
        file = posixpath.normpath(posixpath.join(posixpath.dirname(source), path))
        page = PAGES.get(file) or page_of_docs(file)
        if page is None:
            return label
        if file == "README.md":
            mark = anchor = ""
        return f"[{label}]({posixpath.relpath(page, posixpath.dirname(uri) or '.')}{mark}{anchor})"

    return _LINK.sub(on_site, text)


def page_of_docs(file: str) -> str | None:
    """Return the site's page of a file of deploy/docs; None for any other."""
    folder = PurePosixPath("deploy/docs")
    path = PurePosixPath(file)
    is_page = path.is_relative_to(folder) and path.suffix == ".md"
    return str(path.relative_to(folder)) if is_page else None


def list_indents(text: str) -> str:
    """Return the text with lists as Python-Markdown wants them: a blank line before, and four spaces within.

    The repository's pages are written for CommonMark, where two spaces do, and a list may follow a paragraph at once.
    """
    lines: list[str] = []
    fence: str | None = None
    indent = ""
    for line in text.split("\n"):
        stripped = line.lstrip(" ")
        if fence is not None:
            lines.append(indent + line)
            if stripped.startswith(fence):
                fence, indent = None, ""
            continue
        nested = _MARK.match(line)
        indent = " " * (4 - len(nested[1])) if nested else ""
        if stripped.startswith("```"):
            fence = "```"
        is_item = _ITEM.match(line) is not None
        if is_item and lines and lines[-1].strip() and not any(map(_ITEM.match, paragraph_before(lines))):
            lines.append("")
        lines.append(indent + line)
        if fence is None:
            indent = ""
    return "\n".join(lines)


def paragraph_before(lines: list[str]) -> list[str]:
    """Return the lines since the last blank one."""
    found: list[str] = []
    for line in reversed(lines):
        if not line.strip():
            break
        found.append(line)
    return found
