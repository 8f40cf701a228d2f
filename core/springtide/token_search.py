"""Searching texts and bytes for one id: `u1` is not in `u10`, and is in `"u1"` and in a field of two bytes."""

import base64
import json
import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # The trainer, which looks for ids in the audit log alone, runs without NumPy between trainings.
    import numpy as np
    import numpy.typing as npt

_WORD = rb"[0-9A-Za-z_\x80-\xff-]"
_SURE_BYTES = 6  # A shorter id is found in numbers by chance.


class Token:
    """An id, and where it occurs as a whole: between characters that no word has, or in a field of its own length.

    Args:
        text: The id, of at least one character.
        is_strict: Whether a text has it only if it is the text: a word in a sentence does not count.

    Attributes:
        text: The id.
        utf8: Its bytes.
    """

    def __init__(self, text: str, *, is_strict: bool = False) -> None:
        if not text:
            raise ValueError("wanted an id, got an empty text")
        self.text = text
        self.utf8 = text.encode()
        self._raw = re.compile(re.escape(self.utf8))
        before = rb"(?<!" + _WORD + rb")" if re.match(_WORD, self.utf8[:1]) else b""
        after = rb"(?!" + _WORD + rb")" if re.match(_WORD, self.utf8[-1:]) else b""
        if is_strict:  # In bytes of any kind, quotes tell where a text begins and ends.
            before, after = rb"(?:^|(?<=['\"]))", rb"(?:\Z|(?=['\"]))"
        self._word = re.compile(before + re.escape(self.utf8) + after)
        escaped = json.dumps(text)[1:-1].encode()  # As it stands in JSON that cannot be read any more.
        self._escaped = [] if escaped == self.utf8 else [re.compile(re.escape(escaped))]
        length = len(self.utf8)
        prefixes = {_varint(length), length.to_bytes(4, "little"), length.to_bytes(4, "big")}
        if length < 1 << 16:
            prefixes |= {length.to_bytes(2, "little"), length.to_bytes(2, "big")}
        self._field = re.compile(b"(?:" + b"|".join(map(re.escape, prefixes)) + b")" + re.escape(self.utf8))

    def is_in_text(self, text: str) -> bool:
        """Return whether a text has it, as a whole."""
        return self.is_in_words(text.encode("utf-8", "surrogatepass"))

    def without(self, text: str) -> str:
        """Return a text with `(forgotten)` in the place of the id."""
        return self._word.sub(b"(forgotten)", text.encode("utf-8", "surrogatepass")).decode("utf-8", "surrogatepass")

    def is_in_words(self, content: bytes) -> bool:
        """Return whether the UTF-8 of a text has it, as a whole."""
        return self.utf8 in content and self._word.search(content) is not None

    def is_in_bytes(self, content: Any) -> bool:
        """Return whether bytes of any kind have it: as a word, or behind its length."""
        patterns = (self._word, self._field, *self._escaped)
        return any(pattern.search(content) is not None for pattern in patterns)

    def may_be_in(self, content: Any) -> bool:
        """Return whether bytes have its bytes, perhaps in a longer id: for what cannot be read as what it was."""
        return self._raw.search(content) is not None

    def is_in_json(self, value: Any) -> bool:
        """Return whether a text in a value of JSON has it; numbers are no ids."""
        if isinstance(value, str):
            return self.is_in_text(value)
        if isinstance(value, dict):
            return any(self.is_in_text(key) or self.is_in_json(each) for key, each in value.items())
        return isinstance(value, list) and any(map(self.is_in_json, value))

    def is_in_packed(self, utf8: "npt.NDArray[np.uint8]", offsets: "npt.NDArray[np.integer[Any]]") -> bool:
        """Return whether one of packed texts has it; see ``packed_texts``."""
        content = _bytes_of(utf8)
        for match in self._raw.finditer(content):
            index = int(offsets.searchsorted(match.start(), side="right")) - 1
            start, stop = int(offsets[index]), int(offsets[index + 1])
            if match.end() <= stop and self.is_in_words(bytes(content[start:stop])):
                return True
        return False

    def is_in_arrays(self, arrays: "dict[str, npt.NDArray[Any]]") -> bool:
        """Return whether named arrays have it: packed texts, texts, JSON as bytes."""
        packed = set()
        for name, array in arrays.items():
            offsets = arrays.get(_offsets_of(name))
            if offsets is not None and name != _offsets_of(name) and array.dtype == "uint8":
                packed.add(name)
                if self.is_in_packed(array, offsets):
                    return True
        return any(self._is_in_array(array) for name, array in arrays.items() if name not in packed) or any(
            map(self.is_in_text, arrays)
        )

    def is_in_message(self, content: bytes) -> bool:
        """Return whether a record's value has it: JSON, or bytes of another kind, such as a protobuf message."""
        try:
            return self.is_in_json(json.loads(content))
        except (ValueError, RecursionError):
            pass
        return self.is_in_bytes(content)

    def _is_in_unknown(self, content: bytes) -> bool:
        try:
            json.loads(content)
        except (ValueError, RecursionError):
            return self.may_be_in(content)
        return False

    def is_in_line(self, line: bytes) -> bool:
        """Return whether a line of JSON has it, in its texts or in what they are the base64 of."""
        try:
            fields = json.loads(line)
        except ValueError:
            return self.is_in_bytes(line)
        return self.is_in_json(fields) or any(map(self.is_in_message, _decoded(fields)))

    def _is_in_array(self, array: "npt.NDArray[Any]") -> bool:
        if array.dtype.kind in "US":
            return any(self.is_in_text(str(text)) for text in array.reshape(-1).tolist())
        if array.dtype == "uint8" and array.ndim == 1:
            content = array.tobytes()  # Texts may lie there without anything between them.
            return self.is_in_message(content) or (len(self.utf8) >= _SURE_BYTES and self._is_in_unknown(content))
        if len(self.utf8) < _SURE_BYTES or not array.size:
            return False
        return self._field.search(_bytes_of(array)) is not None


def _bytes_of(array: "npt.NDArray[Any]") -> memoryview:
    """Return the bytes of an array, without a copy if they lie in one piece."""
    if not array.size:
        return memoryview(b"")
    whole = array if array.flags.c_contiguous else array.copy()
    return whole.data.cast("B")


def _decoded(value: Any) -> list[bytes]:
    """Return what the texts of a value of JSON are the base64 of, as far as they are."""
    if isinstance(value, str):
        try:
            return [base64.b64decode(value, validate=True)]
        except ValueError:
            return []
    parts = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return [each for part in parts for each in _decoded(part)]


def _offsets_of(name: str) -> str:
    return name.replace("utf8", "offsets")


def _varint(number: int) -> bytes:
    content = b""
    while number > 127:
        content += bytes([number & 127 | 128])
        number >>= 7
    return content + bytes([number])
