"""Tables made in batches are those that pandas makes at once."""

from __future__ import annotations

import hashlib
from typing import Any

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.storage import tables

VALUES = st.one_of(
    st.floats(),
    st.integers(-(2**63), 2**64 - 1),
    st.booleans(),
    st.sampled_from(["ok", "nan", "", "é"]),
)
KINDS = (st.floats(), st.integers(0, 2**64 - 1), st.integers(-9, 9), st.booleans(), st.just("ok"))
ROWS = st.lists(
    st.fixed_dictionaries({"a": VALUES}, optional=dict(zip("bcdef", KINDS, strict=True)))
)


@given(rows=ROWS, batch=st.integers(1, 4))
@settings(deadline=None, max_examples=300, derandomize=True, database=None)
def test_a_table_does_not_depend_on_how_its_rows_are_batched(rows, batch):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tables, "BATCH", batch)
        made = tables.tabulate(rows)
    expected = pd.DataFrame.from_records(rows)
    pd.testing.assert_frame_equal(made, expected, check_exact=True, check_column_type=False)


@pytest.mark.parametrize("length", [0, 1, 2, 5])
def test_a_table_is_packed_in_batches_as_pandas_writes_it_at_once(monkeypatch, length):
    table = pd.DataFrame(
        {"a": [0.1, 1e-300, float("nan"), 2.0, -0.0], "b": ["x", "é\n", "", 1, True]}
    )
    monkeypatch.setattr(tables, "BATCH", 2)
    packed, sha = tables.pack(table[:length])
    text = table[:length].to_csv(index=False, na_rep="nan").encode()
    assert tables.unpack(packed, sha, len(text)) == text
    assert sha == hashlib.sha256(text).hexdigest()
    with pytest.raises(tables.SizeError):
        tables.unpack(packed, sha, len(text) - 1)
    with pytest.raises(tables.DamageError):
        tables.unpack(packed, "0" * 64, len(text))


def test_rows_are_taken_one_by_one_and_held_no_longer_than_a_batch(monkeypatch):
    monkeypatch.setattr(tables, "BATCH", 10)
    seen: list[Any] = []

    def rows():
        for i in range(100):
            seen.append(i)
            yield {"value": float(i)}

    packed = []
    pack = tables._pack
    monkeypatch.setattr(tables, "_pack", lambda values: packed.append(len(seen)) or pack(values))
    tables.tabulate(rows())
    assert packed == [10 * (i + 1) for i in range(10)]
