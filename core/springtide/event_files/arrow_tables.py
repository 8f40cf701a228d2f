"""Parquet, Feather and Arrow files, read batch by batch."""

from collections.abc import Iterable, Iterator

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.ipc
import pyarrow.parquet as pq

from springtide.event_files.delimited import Chunk
from springtide.event_files.opening import PARQUET, InputFile

_CHUNK_ROWS = 20_000


class ArrowFile:
    """A Parquet, Feather or Arrow file; a column of structs counts as several, with names such as ``context.place``.

    Attributes:
        names: Names of the columns, in order.
    """

    def __init__(self, file: InputFile) -> None:
        self._file = file
        with file.reading():
            if file.form == PARQUET:
                schema = pq.read_schema(file.path)
            else:
                with pa.memory_map(str(file.path)) as source:
                    schema = _batches(source)[0]
        self.names = _flat(schema.empty_table()).column_names

    def chunks(self, names: Iterable[str]) -> Iterator[Chunk]:
        """Yield the rows, with the named columns."""
        names = list(names)
        num_before = 0
        with self._file.reading():
            for table in self._tables(names):
                flat = _flat(table)
                columns = {name: _one(flat[name].combine_chunks()) for name in names}
                yield Chunk(np.arange(num_before + 1, num_before + 1 + len(table)), columns)
                num_before += len(table)

    def places_of(self, rows: Iterable[int]) -> dict[int, str]:
        """Return the place of each row in words."""
        return {row: f"row {row:,}" for row in rows}

    def _tables(self, names: list[str]) -> Iterator[pa.Table]:
        if self._file.form == PARQUET:
            with pq.ParquetFile(self._file.path) as parquet:
                for batch in parquet.iter_batches(_CHUNK_ROWS, columns=names):
                    yield pa.Table.from_batches([batch])
            return
        with pa.memory_map(str(self._file.path)) as source:
            for batch in _batches(source)[1]:
                table = pa.Table.from_batches([batch])
                for start in range(0, len(table), _CHUNK_ROWS):
                    yield table.slice(start, _CHUNK_ROWS)


def _batches(source: pa.NativeFile) -> tuple[pa.Schema, Iterator[pa.RecordBatch]]:
    """Return schema and batches of a file in Arrow's file format or its stream format."""
    if source.read(6) == b"ARROW1":
        reader = pa.ipc.open_file(source)
        return reader.schema, map(reader.get_batch, range(reader.num_record_batches))
    source.seek(0)
    stream = pa.ipc.open_stream(source)
    return stream.schema, iter(stream)


def _flat(table: pa.Table) -> pa.Table:
    while any(pa.types.is_struct(kind) for kind in table.schema.types):
        table = table.flatten()
    return table


def _one(array: pa.Array | pa.ChunkedArray) -> pa.Array:
    """Return a combined column as one array, which some versions of Arrow give as chunks."""
    if isinstance(array, pa.ChunkedArray):
        array = array.chunk(0) if array.num_chunks else pa.array([], array.type)
    if pa.types.is_dictionary(array.type) and pa.types.is_string_view(array.type.value_type):  # Arrow takes no views.
        array = pa.DictionaryArray.from_arrays(array.indices, array.dictionary.cast(pa.string()))
    return pc.run_end_decode(array) if pa.types.is_run_end_encoded(array.type) else array
