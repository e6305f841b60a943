"""The two brackets as a user calls them: any number of columns, bad input, matrices from files."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest

from experiments.joint_wdc import JointWdc
from experiments.joint_wdc import Thresholds as JointThresholds
from harness.conditions import Bracket, joint_wdc_bracket, wdc_bracket
from harness.conditions.definition import joint_wdc_residual, wdc_residual
from harness.conditions.search import joint_wdc_row_aligned, joint_wdc_search, wdc_search
from harness.matrices import Matrix, load_matrix
from harness.theory import truncation_alpha

QUICK = {"budget": 300, "boxes": 3000}


def gaussian(seed: int, rows: int, columns: int) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((rows, columns)) / np.sqrt(rows)


@pytest.mark.parametrize("columns", [1, 2, 3, 4, 6])
def test_the_witness_proves_the_lower_end_whatever_the_method(columns: int) -> None:
    W = gaussian(columns, 40, columns)
    bracket = wdc_bracket(W, **QUICK)
    assert bracket.lower <= bracket.upper
    assert wdc_residual(W, *bracket.witness) == pytest.approx(bracket.lower, rel=1e-10)
    assert np.isfinite(bracket.upper) == (columns <= 4)
    assert bracket.method


@pytest.mark.parametrize("columns", [(1, 1), (2, 2), (1, 2), (3, 2), (4, 4)])
def test_the_witness_proves_the_joint_lower_end(columns: tuple[int, int]) -> None:
    B, C = gaussian(1, 30, columns[0]), gaussian(2, 30, columns[1])
    bracket = joint_wdc_bracket(B, C, **QUICK)
    assert bracket.lower <= bracket.upper
    assert joint_wdc_residual(B, C, bracket.witness) == pytest.approx(bracket.lower, rel=1e-10)
    assert np.isfinite(bracket.upper) == (columns in [(1, 1), (2, 2)])


@pytest.mark.parametrize("seed", range(5))
def test_no_search_exceeds_a_certificate(seed: int) -> None:
    B, C = gaussian(10 + seed, 25, 2), gaussian(20 + seed, 25, 2)
    rng = np.random.default_rng(seed)
    certified = joint_wdc_bracket(B, C, budget=1, boxes=100_000, rtol=0.02)
    found = joint_wdc_search(B, C, rng=rng, budget=1500)
    assert found.lower <= certified.upper
    W = gaussian(30 + seed, 30, 3)
    assert wdc_search(W, rng=rng, budget=1500).lower <= wdc_bracket(W, **QUICK).upper


@pytest.mark.parametrize("columns", [1, 2, 5])
def test_alpha_scales_the_constant(columns: int) -> None:
    W, alpha = gaussian(5, 50, columns), 0.9
    scaled = wdc_bracket(W / np.sqrt(alpha), **QUICK)
    residual = wdc_residual(W, *scaled.witness, alpha)
    assert scaled.lower == pytest.approx(residual / alpha, rel=1e-10)
    if columns <= 2:  # certified; the searches' paths part at the first difference in rounding
        plain = wdc_bracket(W, alpha, **QUICK)
        assert scaled.lower == pytest.approx(plain.lower / alpha, rel=1e-6)


def test_fewer_rows_than_columns_leave_at_least_half_of_alpha() -> None:
    assert wdc_bracket(gaussian(6, 3, 5), **QUICK).lower >= 0.5 - 1e-9


def test_zero_rows_add_nothing() -> None:
    W = gaussian(7, 30, 2)
    padded = np.concatenate([W, np.zeros((10, 2))])
    assert wdc_bracket(padded).lower == pytest.approx(wdc_bracket(W).lower, rel=1e-6)


def test_a_scale_that_is_plainly_wrong_is_warned_of() -> None:
    W = 20 * gaussian(8, 50, 2)
    with pytest.warns(UserWarning, match="measures the scaling"):
        wdc_bracket(W)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        wdc_bracket(W, alpha=400.0)


def test_a_scale_that_chance_explains_is_not_warned_of() -> None:
    """A seventh of all Gaussian columns with 8 entries have less than half the mean square."""
    W = np.full((8, 1), 0.4 / np.sqrt(8))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        wdc_bracket(W)
        wdc_bracket(0.1 * gaussian(9, 40, 1), alpha=0.01)
    with pytest.warns(UserWarning, match=r"mean squared length 0\.16"):
        wdc_bracket(np.tile(W, (50, 1)) / np.sqrt(50))


@pytest.mark.parametrize(
    ("W", "message"),
    [
        (np.full((3, 2), np.nan), "finite"),
        (np.full((3, 2), np.inf), "finite"),
        (np.empty((0, 2)), "non-empty"),
        (np.ones(3), "non-empty"),
        (np.array([["a", "b"]]), "real matrix"),
        (np.ones((2, 2), dtype=complex), "real matrix"),
    ],
)
def test_what_is_no_matrix_is_refused(W: np.ndarray, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        wdc_bracket(W)
    with pytest.raises(ValueError, match=message):
        joint_wdc_bracket(W, np.ones((3, 2)))


def test_matrices_that_do_not_fit_and_a_bad_alpha_are_refused() -> None:
    with pytest.raises(ValueError, match="3 rows and C has 4"):
        joint_wdc_bracket(np.ones((3, 2)), np.ones((4, 2)))
    for alpha in (0.0, -1.0, np.nan):
        with pytest.raises(ValueError, match="alpha="):
            wdc_bracket(np.ones((3, 2)), alpha)


def test_an_empty_gap_and_an_open_one() -> None:
    W = gaussian(9, 20, 2)
    assert wdc_bracket(W).gap <= 0.01
    assert wdc_bracket(gaussian(9, 20, 6), **QUICK).gap == 1.0
    assert Bracket(0.0, 0.0, wdc_bracket(W).witness, "none").gap == 0.0


# Laws and files


@pytest.mark.parametrize("law", ["gaussian", "truncated", "orthogonal", "sparse", "heavy"])
@pytest.mark.parametrize("n", [1, 3])
def test_rows_of_every_law_have_the_stated_covariance(law: str, n: int) -> None:
    ell = 60_001
    matrix = Matrix(n=n, ell=ell, law=law)  # type: ignore[arg-type]
    W = matrix.sample(np.random.default_rng(11))
    assert W.shape == (ell, n)
    products = ell * W[:, :, None] * W[:, None, :]
    error = products.std(axis=0) / np.sqrt(ell)
    assert np.all(np.abs(products.mean(axis=0) - matrix.alpha * np.eye(n)) <= 5 * error + 1e-4)
    assert matrix.alpha == (truncation_alpha(n) if law == "truncated" else 1.0)


def test_a_file_gives_its_matrix_its_shape_and_its_digest(tmp_path: Path) -> None:
    W = gaussian(12, 7, 3).astype(np.float32)
    np.save(tmp_path / "W.npy", W)
    np.savez(tmp_path / "W.npz", first=W)
    for name in ("W.npy", "W.npz"):
        matrix = Matrix(n=1, ell=1, law="gaussian", weights=str(tmp_path / name)).prepared()
        assert (matrix.n, matrix.ell, matrix.law) == (3, 7, "file")
        np.testing.assert_array_equal(matrix.sample(np.random.default_rng(0)), W)
    before = matrix.sha256
    np.savez(tmp_path / "W.npz", first=2 * W)
    changed = Matrix(n=1, ell=1, law="gaussian", weights=str(tmp_path / "W.npz")).prepared()
    assert changed.sha256 != before


def test_two_files_give_the_joint_condition_their_matrices(tmp_path: Path) -> None:
    B, C = gaussian(13, 20, 3), gaussian(14, 20, 2)
    paths = [str(tmp_path / name) for name in ("B.npy", "C.npy")]
    for path, matrix in zip(paths, (B, C), strict=True):
        np.save(path, matrix)
    limits = JointThresholds(law_error=0.1, row_share=0.5, sampled_share=0.5, epsilon=0.5)
    plain = {"n": 1, "p": 1, "ell": 1, "last_layer": "gaussian", "samples": 5, "budget": 50}

    def of_files(first: str | None, second: str | None) -> JointWdc:
        given = JointWdc(**plain, thresholds=limits, weights1=first, weights2=second, sha256=None)
        return given.prepared()

    experiment = of_files(*paths)
    assert (experiment.n, experiment.p, experiment.ell) == (3, 2, 20)
    [row] = experiment.trial(np.random.default_rng(0))
    assert float(row["search"]) >= joint_wdc_row_aligned(B, C).lower
    with pytest.raises(ValueError, match="both or neither"):
        of_files(paths[0], None)
    np.save(paths[1], gaussian(14, 21, 2))
    with pytest.raises(ValueError, match=r"20 rows, weights2=.* has 21"):
        of_files(*paths)


def test_nothing_in_a_weights_file_is_executed(tmp_path: Path) -> None:
    bomb = np.array([[print]], dtype=object)
    np.save(tmp_path / "bomb.npy", bomb, allow_pickle=True)
    with pytest.raises(ValueError, match="real matrix"):
        load_matrix(str(tmp_path / "bomb.npy"))


@pytest.mark.parametrize("content", [b"", b"hello", b"\x93NUMPY"])
def test_a_damaged_file_is_one_line(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "W.npy"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"network\.weights=.*must be a \.npy or \.npz") as refusal:
        load_matrix(str(path))
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(("n", "p", "ell"), [(1, 1, 4), (2, 5, 30), (10, 3, 60), (20, 20, 100)])
@pytest.mark.parametrize("alpha", [0.5, 1.0, 2.0])
def test_one_aligned_row_keeps_the_joint_constant_up(
    n: int, p: int, ell: int, alpha: float
) -> None:
    """The lemma of docs/aligned-row.md, for the row-aligned points and for any search's result."""
    rng = np.random.default_rng(100 * n + p)
    B, C = (rng.standard_t(3, (ell, k)) / np.sqrt(ell) for k in (n, p))
    least = ell * np.max((B**2).sum(axis=1) * (C**2).sum(axis=1)) - alpha / 4
    aligned = joint_wdc_row_aligned(B, C, alpha, count=ell)
    assert aligned.lower >= least - 1e-12 * abs(least)
    assert joint_wdc_search(B, C, alpha, rng=rng, budget=200).lower >= least - 1e-9 * abs(least)
