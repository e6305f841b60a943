"""Separating digit and distortion without PyTorch: ReLU networks and simple baselines."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import gaussian_filter
from scipy.optimize import least_squares

from harness.arrays import Array
from harness.descent import Stopping, alternating_descent, step_size
from harness.ensemble import unit_vectors
from harness.mnist import quality
from harness.network import ReluNetwork
from harness.problem import Demodulation

FLOOR = 0.3
"""Homomorphic filtering takes the logarithm of the image plus this constant."""
BLUR = 0.1
"""Standard deviation of its Gaussian blur, as a share of the image's side."""
INK = 0.2
"""Pixels above this share of the brightest one are used to fit the distortion."""
UPPER = 20.0
"""Weight of a pixel above the fitted Gaussian, relative to one below: a stroke's grey edges lie
below it, so that what is above says more."""


@dataclass(frozen=True, eq=False)
class Recovered:
    """Digits x and distortions w, (N, s, s) each, and the losses of all starts, (N, R).

    Without random starts there are no losses.
    """

    x: Array
    w: Array
    losses: Array | None = None

    def by_start(self, y: Array) -> Array:
        """`losses`, or the mean square error of the best multiple of x w: (N, s, s) -> (N, R)."""
        if self.losses is not None:
            return self.losses
        error = quality.rescaled(self.x * self.w, y) - y
        return np.mean(error**2, axis=(1, 2))[:, None]


@dataclass(frozen=True)
class Limits:
    """Limits of Algorithm 1 on networks: starts per image, scale-free step size, steps."""

    starts: int
    kappa: float
    max_steps: int


def by_networks(
    G1: ReluNetwork, G2: ReluNetwork, y: Array, rng: np.random.Generator, limits: Limits
) -> Recovered:
    """Algorithm 1 on each image of y (N, s, s), keeping the start of least loss.

    The factors of a black image are 0.  Its starts are drawn all the same, so that the images
    after it do not depend on it.
    """
    x, w, losses = np.empty_like(y), np.empty_like(y), np.empty((len(y), limits.starts))
    for index, image in enumerate(y):
        h, m = (unit_vectors(rng, limits.starts, G.widths[0]) for G in (G1, G2))
        if not image.any():  # y0 = 0 has no step size
            x[index] = w[index] = losses[index] = 0.0
            continue
        # With the truth (0, 0) both networks are 0, and the image is all noise: y0 = image.
        origin = np.zeros(G1.widths[0]), np.zeros(G2.widths[0])
        P = Demodulation(G1, G2, *origin, noise=image.ravel())
        solution = alternating_descent(
            P,
            h,
            m,
            step=step_size(P, limits.kappa),
            max_steps=limits.max_steps,
            engine="tracking",
            stopping=Stopping(stall_window=1000, stall_rtol=1e-4),
        )
        loss = 2 * solution.loss / image.size  # mean over pixels, as in all other methods
        losses[index] = np.where(np.isfinite(loss), loss, np.inf)
        best = losses[index].argmin()
        x[index] = G1(solution.h[best]).reshape(image.shape)
        w[index] = G2(solution.m[best]).reshape(image.shape)
    return Recovered(x, w, losses)


def project(
    G: ReluNetwork, images: Array, rng: np.random.Generator, starts: int
) -> tuple[Array, Array]:
    """The images of G closest to `images` (N, s, s), and their latent vectors (N, n).

    The best of local least-squares solutions from random starts.  G is homogeneous, so this
    optimises the scale as well.
    """

    def residual(h: Array, target: Array) -> Array:
        return G(h) - target

    def jacobian(h: Array, target: Array) -> Array:
        return G.Lambda(h)

    best, latents = np.zeros_like(images), np.zeros((len(images), G.widths[0]))
    for index, image in enumerate(images):
        target, least = image.ravel(), np.inf
        for h in unit_vectors(rng, starts, G.widths[0]):
            h *= np.linalg.norm(target) / max(float(np.linalg.norm(G(h))), 1e-12)
            solved = least_squares(residual, h, jacobian, args=(target,), max_nfev=60)
            if solved.cost < least:
                least, latents[index] = solved.cost, solved.x
                best[index] = G(solved.x).reshape(image.shape)
    return best, latents


def homomorphic(y: Array) -> Recovered:
    """Division by w, the exponential of the low frequencies of log(y + FLOOR): (N, s, s).

    Oppenheim et al. (1968).

    The constants were chosen among a few for the best digit, on images that are not held out.
    """
    logs = np.log(y + FLOOR)
    low = gaussian_filter(logs, sigma=(0, BLUR * y.shape[-1], BLUR * y.shape[-1]))
    w = np.exp(low)
    return Recovered(y / w, w)


def divide_by_gaussian(y: Array) -> Recovered:
    """Division by a Gaussian fitted to the bright pixels: (N, s, s).

    log w = a + b . (u, v) - k (u^2 + v^2), k >= 0, is linear in its coefficients.  It is fitted to
    log y by expectile regression (Newey and Powell 1987): inside a stroke y is close to w, at its
    grey edges it is below.
    Unlike the other methods, this one knows that distortions are Gaussian.  Constants as in
    `homomorphic`.
    """
    side = y.shape[-1]
    u, v = np.meshgrid(*(np.linspace(-5, 5, side),) * 2, indexing="ij")
    design = np.stack([np.ones(side * side), u.ravel(), v.ravel(), (u**2 + v**2).ravel()], axis=1)
    w = np.empty_like(y)
    for index, image in enumerate(y):
        pixels = image.ravel()
        seen = pixels > INK * pixels.max(initial=0.0)
        weight = np.ones(seen.sum())
        coefficients = np.zeros(4)
        for _ in range(20 if seen.any() else 0):
            root = np.sqrt(weight)
            coefficients = np.linalg.lstsq(
                design[seen] * root[:, None], np.log(pixels[seen]) * root, rcond=None
            )[0]
            above = np.log(pixels[seen]) > design[seen] @ coefficients
            weight = np.where(above, UPPER, 1.0)
        coefficients[3] = min(coefficients[3], 0.0)
        w[index] = np.exp(np.clip(design @ coefficients, -10, 3)).reshape(side, side)
    return Recovered(np.clip(y / w, 0, 1.2), w)
