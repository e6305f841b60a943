"""Tables of rows: built in batches, written as compressed CSV, read back exactly."""

from __future__ import annotations

import gzip
import hashlib
import io
import sys
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

import numpy as np
import pandas as pd

from harness.experiment import Row, Scalar

MISSING = "nan"
"""Text of NaN and of a missing value."""
BATCH = 2_000
"""Rows held as mappings at a time; a mapping takes ten times the memory of its values."""
NUMBERS = ("float64", "int64", "uint64")
DTYPES = (*NUMBERS, "bool", "object", "str")
"""The column types a table may have."""
TEXT_BYTES = 2**32
"""Largest table that is read, in bytes of CSV text."""
CHUNK_BYTES = 2**20
"""Bytes that are unpacked at a time."""


class DamageError(Exception):
    """Compressed data that are not whole, or are followed by others."""


class SizeError(Exception):
    """Compressed data whose text is too long to be read."""


def tabulate(rows: Iterable[Row]) -> pd.DataFrame:
    """Equal to `DataFrame.from_records(rows)`, with peak memory near the size of the result."""
    chunks: dict[str, list[np.ndarray]] = {}
    length = 0
    for batch in _batches(rows):
        columns = _columns(batch)
        for name in {**chunks, **columns}:
            if name not in chunks:
                chunks[name] = [_gap(length)]
            chunks[name].append(_pack(columns[name]) if name in columns else _gap(len(batch)))
        length += len(batch)
    series = {name: pd.Series(_join(chunks.pop(name)), copy=False) for name in list(chunks)}
    return pd.DataFrame(series, copy=False)


def _columns(rows: Sequence[Row]) -> dict[str, Sequence[Scalar]]:
    """The values of each column, NaN where a row lacks the column."""
    shapes = dict.fromkeys(map(tuple, rows))
    if len(shapes) == 1:
        return dict(zip(rows[0], zip(*map(dict.values, rows), strict=True), strict=True))
    names = dict.fromkeys(name for shape in shapes for name in shape)
    return {name: [row.get(name, np.nan) for row in rows] for name in names}


def _batches(rows: Iterable[Row]) -> Iterator[list[Row]]:
    iterator = iter(rows)
    while batch := list(islice(iterator, BATCH)):
        yield batch


def _gap(length: int) -> np.ndarray:
    return np.full(length, np.nan)


def _pack(values: Sequence[Scalar]) -> np.ndarray:
    """Values as an array from which `tolist` returns equal values of the same types."""
    if set(map(type, values)) in ({float}, {int}, {bool}):
        packed = np.array(values)  # integers too large for (u)int64 become floats
        if packed.dtype.kind in "biu" or isinstance(values[0], float):
            return packed
    packed = np.empty(len(values), object)
    packed[:] = [sys.intern(value) if type(value) is str else value for value in values]
    return packed


def _join(chunks: Sequence[np.ndarray]) -> np.ndarray | list[Scalar]:
    """A whole column; pandas infers the type of any but a float column from its values."""
    if all(chunk.dtype == np.float64 for chunk in chunks):
        return np.concatenate(chunks)
    return [value for chunk in chunks for value in chunk.tolist()]


def mixed(table: pd.DataFrame) -> list[str]:
    """Columns that a CSV file does not hold: of values of several kinds, such as text and numbers.

    Only booleans with missing values are objects.
    """
    objects = [name for name, dtype in table.dtypes.items() if pd.api.types.is_object_dtype(dtype)]
    return [str(name) for name in objects if not set(map(type, table[name].dropna())) <= {bool}]


def without_images(table: pd.DataFrame) -> pd.DataFrame:
    """The table without its image columns, which hold PNG files in base 64."""
    return table[[name for name in table.columns if not str(name).endswith("_png")]]


def pack(table: pd.DataFrame) -> tuple[bytes, str]:
    """A table as gzip-compressed CSV, and the SHA-256 of the CSV text.

    Equal tables give equal bytes: the gzip header has no file name and time 0.  The text is
    written and compressed in batches of rows, so that it is never in memory as a whole.
    """
    packed, sha = io.BytesIO(), hashlib.sha256()
    with gzip.GzipFile(filename="", mode="wb", compresslevel=9, fileobj=packed, mtime=0) as stream:
        for start in range(0, max(len(table), 1), BATCH):
            text = table.iloc[start : start + BATCH].to_csv(
                index=False, header=start == 0, na_rep=MISSING, lineterminator="\n"
            )
            data = text.encode()
            sha.update(data)
            stream.write(data)
    return packed.getvalue(), sha.hexdigest()


def unpack(packed: bytes, sha256: str, limit: int) -> bytes:
    """The CSV text of a compressed table, which is read twice: first its SHA-256 must be right.

    So a small file that unpacks to gigabytes takes time, but no memory.

    Raises
    ------
    DamageError
        If the data are damaged, or have another SHA-256.
    SizeError
        As soon as the text exceeds `limit` bytes.
    """
    sha, size = hashlib.sha256(), 0
    try:
        for chunk in _chunks(packed):
            sha.update(chunk)
            size += len(chunk)
            if size > limit:
                raise SizeError(f"unpacks to more than {limit} bytes")
        if sha.hexdigest() != sha256:
            raise DamageError
        return b"".join(_chunks(packed))
    except (OSError, EOFError, zlib.error):
        raise DamageError from None


def _chunks(packed: bytes) -> Iterator[bytes]:
    with gzip.GzipFile(fileobj=io.BytesIO(packed)) as stream:
        while chunk := stream.read(CHUNK_BYTES):
            yield chunk


def from_csv(data: bytes, types: Mapping[str, str]) -> pd.DataFrame:
    """The table with this CSV text, given the types of its columns; floats are read exactly.

    Raises
    ------
    ValueError
        If the text has other columns, or a type is not one of `DTYPES`.
    """
    if not isinstance(types, dict) or any(dtype not in DTYPES for dtype in types.values()):
        raise ValueError(f"columns must be of types {', '.join(DTYPES)}")
    if not types:
        return pd.DataFrame()
    options: dict[str, Any] = {
        "dtype": {name: dtype if dtype in NUMBERS else "str" for name, dtype in types.items()},
        "na_values": {name: [MISSING] for name, dtype in types.items() if dtype == "float64"},
        "keep_default_na": False,
    }
    table = pd.read_csv(io.BytesIO(data), **options)
    if list(table) != list(types):
        raise ValueError("other columns")
    for name, dtype in types.items():
        if dtype not in NUMBERS:
            table[name] = _typed(table[name], dtype)
    return table


def _typed(texts: pd.Series, dtype: str) -> pd.Series:
    if dtype == "bool":
        return texts == "True"
    if dtype == "object":  # booleans with missing values
        return texts.map({"True": True, "False": False}).astype(object)
    if dtype == "str":
        return texts.where(texts != MISSING)
    return texts.astype(dtype)
