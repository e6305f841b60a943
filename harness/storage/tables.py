"""Rows of many cells as one table, and tables as text and back."""

from __future__ import annotations

import io
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

import numpy as np
import pandas as pd

from harness.experiment import Row, Scalar

MISSING = "nan"
"""A value that a row does not have, and NaN, in table.csv."""
BATCH = 2_000
"""Rows that are held as mappings at a time, which take ten times the memory of columns."""
NUMBERS = ("float64", "int64", "uint64")
DTYPES = (*NUMBERS, "bool", "object", "str")
"""Kinds of column that a table has."""


def tabulate(rows: Iterable[Row]) -> pd.DataFrame:
    """`pandas.DataFrame.from_records` of rows, in the memory of the table alone."""
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
    """The values of rows by column, NaN where a row has none."""
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
    """Values as an array that gives the same ones back."""
    if set(map(type, values)) in ({float}, {int}, {bool}):
        packed = np.array(values)  # whole numbers that no type of its own holds become floats
        if packed.dtype.kind in "biu" or isinstance(values[0], float):
            return packed
    packed = np.empty(len(values), object)
    packed[:] = [sys.intern(value) if type(value) is str else value for value in values]
    return packed


def _join(chunks: Sequence[np.ndarray]) -> np.ndarray | list[Scalar]:
    """A column; pandas infers the type of all but floats from the values."""
    if all(chunk.dtype == np.float64 for chunk in chunks):
        return np.concatenate(chunks)
    return [value for chunk in chunks for value in chunk.tolist()]


def without_images(table: pd.DataFrame) -> pd.DataFrame:
    """A table to look at: columns of images, which are text in base 64, are left out."""
    return table[[name for name in table.columns if not str(name).endswith("_png")]]


def to_csv(table: pd.DataFrame) -> memoryview:
    """A table as text."""
    stream = io.BytesIO()
    table.to_csv(stream, index=False, na_rep=MISSING, mode="wb", encoding="utf-8")
    return stream.getbuffer()


def from_csv(data: bytes, types: Mapping[str, str]) -> pd.DataFrame:
    """A table as it was before it was text, given its columns' types; floats come back exactly.

    ValueError if it has other columns, or if there is no such type.
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
    if dtype == "object":  # True, False and missing
        return texts.map({"True": True, "False": False}).astype(object)
    if dtype == "str":
        return texts.where(texts != MISSING)
    return texts.astype(dtype)
