"""Pages of the reference that are made from code: the protos, the command line, the contracts of plugins."""

import functools
import importlib
import inspect
import re
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import typer.main
from google.protobuf.descriptor_pb2 import (
    DescriptorProto,
    EnumDescriptorProto,
    FieldDescriptorProto,
    FileDescriptorProto,
    FileDescriptorSet,
)

ROOT = Path(__file__).resolve().parents[1]
_SECTION = re.compile(r"^(Args|Arguments|Attributes|Returns|Raises|Yields|Example|Examples|Note):$")
_SCALARS = {
    number: name.removeprefix("TYPE_").lower() for name, number in FieldDescriptorProto.Type.items()
}  # TYPE_INT32 to int32.


# The protos: a file of messages and services, with the comments above them.


@functools.cache
def _described() -> Mapping[str, FileDescriptorProto]:
    """Return all protos of ours with their comments, by file name."""
    import grpc_tools
    from grpc_tools import protoc

    folder = ROOT / "protos"
    names = sorted(path.relative_to(folder).as_posix() for path in folder.glob("springtide/v1/*.proto"))
    with tempfile.TemporaryDirectory() as temporary:
        out = Path(temporary) / "set"
        include = Path(grpc_tools.__file__).parent / "_proto"
        words = ["protoc", f"-I{folder}", f"-I{include}", "--include_source_info", f"--descriptor_set_out={out}"]
        if protoc.main([*words, *names]) != 0:
            raise SystemExit("the protos do not compile: `make protos-check` says why")
        described = FileDescriptorSet.FromString(out.read_bytes())
    return {Path(file.name).name: file for file in described.file}


def proto_page(path: Path) -> str:
    """Return the page of one proto: its services, then its messages and enums, in the order of the file."""
    file = _described()[path.name]
    comments = {tuple(place.path): _one_line(place.leading_comments) for place in file.source_code_info.location}
    lines = [f"# {path.name}", "", comments.get((12,)) or _head_of(path), ""]
    lines += [f"Package `{file.package}`. The file: `protos/springtide/v1/{path.name}`.", ""]
    for number, service in enumerate(file.service):
        lines += [
            f"## {service.name}",
            "",
            comments.get((6, number), ""),
            "",
            "| method | takes | answers | what it does |",
        ]
        lines += ["|---|---|---|---|"]
        for method_number, method in enumerate(service.method):
            takes, answers = _type_link(method.input_type, file), _type_link(method.output_type, file)
            answers = f"stream of {answers}" if method.server_streaming else answers
            said = _cell(comments.get((6, number, 2, method_number), ""))
            lines.append(f"| `{method.name}` | {takes} | {answers} | {said} |")
        lines.append("")
    for number, message in enumerate(file.message_type):
        lines += _message(message, (4, number), comments, file, message.name)
    for number, enum in enumerate(file.enum_type):
        lines += _enum(enum, (5, number), comments, enum.name)
    return "\n".join(lines) + "\n"


def _head_of(path: Path) -> str:
    return " ".join(
        line.removeprefix("//").strip()
        for line in path.read_text(encoding="utf-8").split("\nsyntax", 1)[0].splitlines()
        if line.startswith("//")
    )


def _message(
    message: DescriptorProto,
    path: tuple[int, ...],
    comments: Mapping[tuple[int, ...], str],
    file: FileDescriptorProto,
    name: str,
) -> Iterator[str]:
    yield from (f"## {name}", "", comments.get(path, ""), "")
    maps = {nested.name: nested for nested in message.nested_type if nested.options.map_entry}
    if message.field:
        yield from ("| field | type | meaning |", "|---|---|---|")
    for number, field in enumerate(message.field):
        yield (
            f"| `{field.name}` = {field.number} | {_field_type(field, maps, file)} "
            f"| {_cell(comments.get((*path, 2, number), ''))} |"
        )
    yield ""
    for number, nested in enumerate(message.nested_type):
        if not nested.options.map_entry:
            yield from _message(nested, (*path, 3, number), comments, file, f"{name}.{nested.name}")
    for number, enum in enumerate(message.enum_type):
        yield from _enum(enum, (*path, 4, number), comments, f"{name}.{enum.name}")


def _enum(
    enum: EnumDescriptorProto, path: tuple[int, ...], comments: Mapping[tuple[int, ...], str], name: str
) -> Iterator[str]:
    yield from (f"## {name}", "", comments.get(path, ""), "", "| value | meaning |", "|---|---|")
    for number, value in enumerate(enum.value):
        yield f"| `{value.name}` = {value.number} | {_cell(comments.get((*path, 2, number), ''))} |"
    yield ""


def _field_type(field: FieldDescriptorProto, maps: Mapping[str, DescriptorProto], file: FileDescriptorProto) -> str:
    entry = maps.get(field.type_name.rpartition(".")[2])
    if entry is not None:
        key, value = (_field_type(part, {}, file) for part in entry.field)
        return f"map of {key} to {value}"
    shown = _type_link(field.type_name, file) if field.type_name else f"`{_SCALARS[field.type]}`"
    if field.label == FieldDescriptorProto.LABEL_REPEATED:
        return f"list of {shown}"
    return f"{shown}, optional" if field.proto3_optional else shown


def _type_link(full_name: str, file: FileDescriptorProto) -> str:
    """Return a type's name, as a link to where it is described; the link is one of the repository, to the proto."""
    name = full_name.removeprefix(f".{file.package}.")
    if name.startswith("."):
        return f"`{name[1:]}`"
    top = name.split(".")[0]
    anchor = name.replace(".", "").lower()
    for other, described in _described().items():
        if any(top == kind.name for kind in (*described.message_type, *described.enum_type)):
            return f"[`{name}`]({'' if described.name == file.name else other}#{anchor})"
    return f"`{name}`"


# The command line: all commands with their options.


def cli_page(path: Path) -> str:
    """Return the page of all commands, from what `--help` says of them."""
    from springtide_services.cli.app import app

    command = typer.main.get_command(app)
    lines = ["# Commands", "", "What `springtide COMMAND --help` says, of all commands.", ""]
    for words, found in _commands(command, ("springtide",)):
        lines += [f"## {' '.join(words[1:])}", "", _text(found.help or ""), ""]
        shown = [parameter for parameter in found.params if not getattr(parameter, "hidden", False)]
        usage = " ".join([*words, *(_usage(parameter) for parameter in shown)])
        lines += [f"```text\n{usage}\n```", ""]
        options = [parameter for parameter in shown if parameter.param_type_name == "option"]
        if options:
            lines += ["| option | default | meaning |", "|---|---|---|"]
        for option in options:
            names = ", ".join(f"`{name}`" for name in (*option.opts, *option.secondary_opts))
            default = "" if option.default in (None, "", False) or callable(option.default) else f"`{option.default}`"
            lines.append(f"| {names} | {default} | {_cell(option.help or '')} |")
        lines.append("")
    return "\n".join(lines) + "\n"


def _commands(command: Any, words: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Any]]:
    if not hasattr(command, "commands"):
        yield words, command
        return
    for name in sorted(command.commands):
        if not command.commands[name].hidden:
            yield from _commands(command.commands[name], (*words, name))


def _usage(parameter: Any) -> str:
    if parameter.param_type_name == "argument":
        name = (parameter.metavar or parameter.name or "").upper() + ("…" if parameter.nargs == -1 else "")
        return name if parameter.required else f"[{name}]"
    value = "" if parameter.is_flag else f" {(parameter.metavar or parameter.name).upper()}"
    return f"{parameter.opts[0]}{value}" if parameter.required else f"[{parameter.opts[0]}{value}]"


# The contracts of plugins: hooks, and the classes that parts are made of.


def plugin_page(path: Path) -> str:
    """Return the page of the hooks and of all that `springtide.plugins.contracts` exports."""
    contracts = importlib.import_module("springtide.plugins.contracts")
    hookspecs = importlib.import_module("springtide.plugins.hookspecs")
    lines = ["# Plugin API", "", "The hooks and contracts, as the code documents them. How to use them is told in the"]
    lines += ["[guide for plugin authors](../../../../../plugins/README.md).", "", "## Hooks", ""]
    lines += ["`springtide.plugins.hookspecs`", ""]
    for name, hook in inspect.getmembers(hookspecs, inspect.isfunction):
        if name.startswith("register_"):
            lines += [f"### {name}", "", *_docstring(hook), ""]
    lines += ["## Contracts", "", "`springtide.plugins.contracts`", ""]
    for name in contracts.__all__:
        value = getattr(contracts, name)
        if inspect.isclass(value):
            lines += [f"### {name}", "", *_docstring(value), "", *_members(value)]
    return "\n".join(lines) + "\n"


def _members(owner: type) -> Iterator[str]:
    for name, member in vars(owner).items():
        function = member.fget if isinstance(member, property) else getattr(member, "__func__", member)
        if name.startswith("_") or not inspect.isfunction(function) or not function.__doc__:
            continue
        signature = "" if isinstance(member, property) else _signature(function)
        yield from (
            f"#### {owner.__name__}.{name}",
            "",
            f"```python\n{name}{signature}\n```",
            "",
            *_docstring(function),
            "",
        )


def _signature(function: Any) -> str:
    return re.sub(r"\bspringtide(?:\.\w+)*\.(\w+)", r"\1", str(inspect.signature(function))).replace("'", "")


def _docstring(owner: Any) -> Iterator[str]:
    """Yield a docstring of Google's style as Markdown: its sections become lists."""
    in_section = False
    for line in (inspect.getdoc(owner) or "").replace("``", "`").splitlines():
        section = _SECTION.match(line)
        if section:
            in_section = True
            yield from ("", f"**{section[1]}**", "")
        elif in_section and re.match(r" {4}\S", line):
            name, colon, rest = line.strip().partition(": ")
            yield f"- `{name}`: {rest}" if colon and " " not in name else f"- {line.strip()}"
        elif in_section and line.startswith("     "):
            yield f"    {line.strip()}"
        else:
            yield line


# Texts in cells of tables.


def _text(text: str) -> str:
    return inspect.cleandoc(text).replace("\b\n", "").replace("<", "&lt;")


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _cell(text: str) -> str:
    """Return the text for a cell: one line, with what Markdown would read as a column or a tag taken as it is."""
    parts = re.split(r"(`[^`]*`)", _one_line(text))
    return "".join(part if part.startswith("`") else part.replace("<", "&lt;") for part in parts).replace("|", "\\|")


def main(names: Sequence[str]) -> None:
    """Print the pages of the protos that are named, to look at."""
    for name in names:
        sys.stdout.write(proto_page(ROOT / "protos/springtide/v1" / name))


if __name__ == "__main__":
    main(sys.argv[1:])
