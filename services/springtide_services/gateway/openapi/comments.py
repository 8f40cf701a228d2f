"""The comments of the protos, by what they are about."""

import re
from collections.abc import Mapping

# What `buf format` writes, one thing a line. A test compares what is found with what protoc finds.
_PACKAGE = re.compile(r"package ([\w.]+);")
_OPENING = re.compile(r"(?:message|enum|service|oneof) (\w+) \{")
_METHOD = re.compile(r"rpc (\w+)\(")
_ENUM_VALUE = re.compile(r"(\w+) = -?\d+")
_FIELD = re.compile(r"(?:optional |repeated )?(?:map<[\w., ]+>|[\w.]+) (\w+) = \d+")


def read_comments(proto: str) -> Mapping[str, str]:
    """Return the comments that stand before things of a proto, by their full names.

    A value of an enum is named as its part: ``springtide.v1.MomentSource.MOMENT_SOURCE_CLOCK``; a field of a oneof as
    one of the message.

    Args:
        proto: The text of the file.
    """
    comments: dict[str, str] = {}
    package = ""
    scopes: list[str] = []  # Names of what is open; empty for a oneof, whose fields are the message's, and for options.
    pending: list[str] = []
    for line in map(str.strip, proto.splitlines()):
        if line.startswith("//"):
            pending.append(line[2:].removeprefix(" "))
            continue
        if found := _PACKAGE.match(line):
            package = found[1]
        name = _name_in(line)
        if name and pending:
            comments[".".join(filter(None, (package, *scopes, name)))] = "\n".join(pending)
        pending = []
        code = line.partition("//")[0]
        if code.endswith("{"):
            scopes.append("" if line.startswith("oneof ") else name)
        elif code.startswith("}") and scopes:
            scopes.pop()
    return comments


def _name_in(line: str) -> str:
    """Return the name of what a line declares; empty if it declares nothing."""
    for pattern in (_OPENING, _METHOD, _ENUM_VALUE, _FIELD):
        if found := pattern.match(line):
            return found[1]
    return ""
