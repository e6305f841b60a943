"""Gradients beside their expectations; `test_experiment_descent_map` tests the rest of `slopes`."""

from __future__ import annotations

import numpy as np
import pytest

from harness.landscape import slopes
from harness.theory import expected_gradients
from tests.helpers import problem


@pytest.mark.parametrize("name", ["one-layer", "two-layer", "deep"])
def test_cosines_with_the_expected_gradients_are_those_of_each_point(name):
    P = problem(name)
    rng = np.random.default_rng(0)
    h, m = rng.normal(size=(5, P.n)), rng.normal(size=(5, P.p))
    cosines = slopes.cosines_with_expected(P, h, m)
    for k in range(5):
        gradients = P.gradients(h[k], m[k])
        expected = expected_gradients(h[k], m[k], P.h0, P.m0, d=P.d, s=P.s, ell=P.ell)
        for found, g, t in zip(cosines, gradients, expected, strict=True):
            size = np.linalg.norm(g) * np.linalg.norm(t)
            assert found[k] == pytest.approx(g @ t / size if size > 0 else 0.0, abs=1e-12)
