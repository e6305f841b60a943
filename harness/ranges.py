"""Ranges of settings that many experiments have."""

from typing import Annotated

from annotated_types import Ge, Le

WIDEST = 10**9
Size = Annotated[int, Ge(1), Le(WIDEST)]
"""A width of a layer, or a number of rows or columns of a matrix."""
Count = Annotated[int, Ge(1), Le(10**9)]
"""A number of things that are done one after the other, such as steps."""
Together = Annotated[int, Ge(1), Le(10**5)]
"""A number of things that are in memory at the same time, such as starts or sample points."""
Replica = Annotated[int, Ge(0), Le(10**9)]
"""A number that tells cells apart which measure the same."""
Scale = Annotated[float, Ge(1e-9), Le(1e9)]
"""A positive factor, with which no product overflows or vanishes."""
