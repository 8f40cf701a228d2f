"""Types of the rows of interactions, whose meaning is told in ``row_kernels.pyx``."""

from collections.abc import Callable, Mapping

import numpy as np
import numpy.typing as npt

from springtide.events.raw import RawEvent

Uint8s = npt.NDArray[np.uint8]
Uint32s = npt.NDArray[np.uint32]
Uint64s = npt.NDArray[np.uint64]
Int16s = npt.NDArray[np.int16]
Int32s = npt.NDArray[np.int32]
Int64s = npt.NDArray[np.int64]
Float32s = npt.NDArray[np.float32]
Texts = tuple[Uint8s, Int64s]

class WireRules:
    def __init__(
        self,
        types: list[bytes],
        rules: list[tuple[int, int, float]],
        max_id_bytes: int,
        max_event_bytes: int,
        max_context_entries: int,
        max_text_bytes: int,
    ) -> None: ...

class InteractionRows:
    def __init__(self, hash_context: Callable[[Mapping[str, str]], int] = ...) -> None: ...
    @property
    def contexts(self) -> dict[int, Mapping[str, str]]: ...
    @property
    def num_ignored(self) -> int: ...
    def __len__(self) -> int: ...
    def read(self, records: list[RawEvent], start: int, rules: WireRules, latest_ms: int) -> int: ...
    def append(self, user: bytes, item: bytes, relation_code: int, timestamp_ms: int, value: float) -> int: ...
    def append_packed(
        self,
        utf8: Uint8s,
        offsets: Int64s,
        users: Int32s,
        items: Int32s,
        relation_codes: Int32s,
        timestamps_ms: Int64s,
        values: Float32s,
    ) -> int: ...
    def mark(self, row: int, key: int, context: int, published_ms: int) -> None: ...
    def mark_packed(self, first: int, keys: Uint64s, published_ms: int) -> None: ...
    def answer(self, row: int, answer_id: bytes) -> None: ...
    def answers(self) -> tuple[Int64s, Int32s, Texts] | None: ...
    def texts(self) -> tuple[Texts, Texts]: ...
    def order(self) -> Int64s | None: ...
    def columns(self, order: Int64s | None) -> tuple[Int32s, Int32s, Int16s, Int64s, Float32s]: ...
    def marks(self) -> tuple[Int64s, Uint64s, Uint64s, Uint32s, Int64s, Float32s] | None: ...
