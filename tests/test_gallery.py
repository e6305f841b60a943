"""The animation of Algorithm 1 on the torus of directions."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from harness import gallery
from harness.descent import alternating_descent, step_size
from harness.ensemble import unit_vectors


@pytest.fixture(scope="module")
def starts():
    rng = np.random.default_rng(3)
    return unit_vectors(rng, 5, 2), unit_vectors(rng, 5, 2)


@pytest.mark.parametrize("check", list(gallery.CHECKS))
def test_a_path_ends_where_one_long_descent_does(monkeypatch, starts, check):
    monkeypatch.setattr(gallery, "STEPS", 40)
    P = gallery.problem(1)
    angles, _ = gallery.paths(P, starts, check)
    end = alternating_descent(P, *starts, step_size(P), 40, sign_check=check)
    assert angles.shape == (41, 5, 2)
    for x, angle in zip((end.h, end.m), angles[-1].T, strict=True):
        directions = np.stack([np.cos(angle), np.sin(angle)], axis=1)
        unit = x / np.linalg.norm(x, axis=1, keepdims=True)
        np.testing.assert_allclose(directions, unit, atol=1e-6)


def test_the_truth_is_at_angle_0():
    P = gallery.problem(0)
    for x in (P.h0, P.m0):
        assert np.arctan2(x[1], x[0]) == pytest.approx(0, abs=1e-12)


def test_files_have_the_same_bytes_again_and_the_animation_is_small(monkeypatch):
    monkeypatch.setattr(gallery, "STEPS", 4)
    files = gallery.torus(2)
    assert gallery.torus(2) == files
    assert list(files) == ["torus.png", "torus.pdf", "torus.gif"]
    with Image.open(io.BytesIO(files["torus.gif"])) as animation:
        assert animation.n_frames == 3  # steps 0, 2 and 4
        assert animation.info["loop"] == 0
    assert len(files["torus.gif"]) < 200_000
