"""Random networks that the trained generators are compared with."""

from __future__ import annotations

import numpy as np

from harness.mnist import controls, weights
from harness.network import gaussian_network


def test_a_rotated_network_keeps_shapes_and_singular_values_alone():
    G = gaussian_network(np.random.default_rng(0), (3, 8, 20))
    R = controls.rotated(G, np.random.default_rng(1))
    assert R.widths == G.widths
    for W, V in zip(G.weights, R.weights, strict=True):
        values = (np.linalg.svd(matrix, compute_uv=False) for matrix in (W, V))
        np.testing.assert_allclose(*values, rtol=1e-12)
        assert not np.allclose(W, V)


def test_controls_have_the_shapes_of_the_trained_generators():
    trained = controls.networks("trained", np.random.default_rng(0), weights.FOLDER)
    for prior in controls.PRIORS:
        drawn = controls.networks(prior, np.random.default_rng(0), weights.FOLDER)
        assert [G.widths for G in drawn] == [G.widths for G in trained]


def test_random_truths_are_unit_vectors():
    rng = np.random.default_rng(0)
    G1, G2 = gaussian_network(rng, (3, 9)), gaussian_network(rng, (2, 9))
    h0, m0 = controls.truths("random", G1, G2, rng)
    assert (h0.shape, m0.shape) == ((3,), (2,))
    np.testing.assert_allclose([np.linalg.norm(h0), np.linalg.norm(m0)], 1)
