"""The OpenAPI document: whole, and true to the protos."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc_tools
import pytest
from google.protobuf.descriptor_pb2 import DescriptorProto, EnumDescriptorProto, FileDescriptorProto, FileDescriptorSet
from grpc_tools import protoc

from springtide_services.gateway.openapi.comments import read_comments
from springtide_services.gateway.openapi.document import make_document
from springtide_services.gateway.proto_files import proto_files
from springtide_services.gateway.upstream import all_methods

PROTOS = Path(__file__).parents[3] / "protos"


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    return make_document({})


def test_comments_are_those_that_protoc_finds(tmp_path: Path) -> None:
    files = sorted(str(path.relative_to(PROTOS)) for path in PROTOS.glob("springtide/v1/*.proto"))
    out = tmp_path / "descriptors"
    well_known = Path(grpc_tools.__file__).parent / "_proto"
    words = ["protoc", f"-I{PROTOS}", f"-I{well_known}", f"--descriptor_set_out={out}", "--include_source_info", *files]
    assert protoc.main(words) == 0
    found = {}
    for file in FileDescriptorSet.FromString(out.read_bytes()).file:
        found |= dict(_comments_of(file))

    ours: dict[str, str] = {}
    for _, content in proto_files():
        ours |= read_comments(content.decode())
    assert ours == found
    assert len(ours) > 700


def _comments_of(file: FileDescriptorProto) -> Iterator[tuple[str, str]]:
    for location in file.source_code_info.location:
        if location.leading_comments and len(location.path) % 2 == 0:  # All but the file's own, before `syntax`.
            name = ".".join((file.package, *_names(file, list(location.path))))
            yield name, "\n".join(line.removeprefix(" ") for line in location.leading_comments.rstrip("\n").split("\n"))


def _names(file: FileDescriptorProto, path: list[int]) -> Iterator[str]:
    """Yield the names on a path of descriptor.proto: numbers of fields, and positions in them."""
    about: Any = file
    while path:
        field = next(field for field in about.DESCRIPTOR.fields if field.number == path[0])
        about = getattr(about, field.name)[path[1]]
        assert isinstance(about, DescriptorProto | EnumDescriptorProto) or hasattr(about, "name")
        yield about.name
        path = path[2:]


def test_each_method_has_a_path(document: dict[str, Any]) -> None:
    assert document["paths"].keys() == all_methods().keys()
    for path, item in document["paths"].items():
        assert item["post"]["summary"], path
        assert "Roles: ." not in item["post"]["description"], path


def test_each_reference_leads_somewhere(document: dict[str, Any]) -> None:
    references = set(re.findall(r"'\$ref': '(#[^']+)'", str(document)))
    assert len(references) > 100
    for reference in references:
        place: Any = document
        for part in reference.removeprefix("#/").split("/"):
            place = place[part]


@pytest.mark.parametrize(
    ("message", "field", "schema"),
    [
        (
            "RecommendRequest",
            "count",
            {"type": "integer", "format": "int32", "minimum": -(2**31), "maximum": 2**31 - 1},
        ),
        ("RecommendRequest", "recentItems", {"type": "array", "items": {"type": "string"}}),
        ("RecommendRequest", "wait", {"type": "string", "pattern": r"^-?[0-9]{1,12}(\.[0-9]{1,9})?s$"}),
        ("RecommendRequest", "context", {"$ref": "#/components/schemas/Context"}),
        ("Context", "attributes", {"type": "object", "additionalProperties": {"type": "string"}}),
        ("Event", "eventTime", {"type": "string", "format": "date-time"}),
        (
            "GraphPosition",
            "nextOffsets",
            {
                "type": "object",
                "additionalProperties": {"type": "string", "format": "int64", "pattern": "^-?[0-9]{1,19}$"},
                "propertyNames": {"pattern": "^-?[0-9]{1,19}$"},
            },
        ),
    ],
)
def test_field_is_described_as_protobuf_writes_it(
    document: dict[str, Any], message: str, field: str, schema: dict[str, Any]
) -> None:
    described = document["components"]["schemas"][message]["properties"][field]
    assert described.pop("description")
    assert described == schema


def test_choices_of_a_message_are_in_its_words(document: dict[str, Any]) -> None:
    assert "At most one of `interaction`, `nodeUpsert`" in document["components"]["schemas"]["Event"]["description"]


def test_path_of_others_is_added() -> None:
    item = {"post": {"responses": {"4XX": {"$ref": "#/components/responses/Refused"}}}}
    assert make_document({"/v1/events": item})["paths"]["/v1/events"] == item


def test_path_of_others_that_is_a_method_is_refused() -> None:
    with pytest.raises(ValueError, match="wanted paths that no method has"):
        make_document({"/springtide.v1.RecommenderService/Recommend": {}})
