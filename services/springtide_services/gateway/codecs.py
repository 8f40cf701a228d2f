"""How messages are written in the body of a request: as protobuf's bytes, or as its JSON."""

from connectrpc.codec import Codec
from connectrpc.compat import google_protobuf_binary_codec
from google.protobuf import json_format
from google.protobuf.message import Message


class JsonCodec(Codec[Message, Message]):
    """Protobuf's JSON on one line. Unlike connectrpc's own, it refuses unknown fields: they may be misspelt."""

    def name(self) -> str:
        """Return what stands for it in the content type."""
        return "json"

    def encode(self, message: Message) -> bytes:
        """Return a message as JSON."""
        return json_format.MessageToJson(message, indent=None, ensure_ascii=False).encode()

    def decode(self, data: bytes | bytearray, message_class: type[Message]) -> Message:
        """Return a message from JSON.

        Raises:
            json_format.ParseError: If it is none, or has a field that the message has not.
        """
        return json_format.Parse(bytes(data), message_class())


CODECS: tuple[Codec[Message, Message], ...] = (google_protobuf_binary_codec(), JsonCodec())
"""All of them."""
