"""Supervised systems: descriptions against loops and OpenCV, the SVM against a count, learning from both sides."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from clips import moving, texture, write
from novanda.datasets.face_clips import FaceClip
from novanda.errors import InputError
from novanda.methods import FrozenFeatures
from novanda.networks import make_network
from novanda.supervised import DESCRIPTOR_SYSTEMS, Classifier, CnnSvm, System
from novanda.supervised.systems import motion, svm
from novanda.supervised.textures import CIRCLE, coalbp_histogram, pattern_codes, uniform_histogram
from novanda.supervised.windows import SIDE, Window, windows_of
from novanda.training_options import Training

SIZES = {"lbp": 59, "lbp_top": 177, "motion": 10, "color_lbp": 354, "color_texture": 6144}
QUICK = CnnSvm(training=Training(epochs=1, device="cpu"), width=2)


def window(seed: int = 0, frames: int = 4) -> Window:
    generator = np.random.default_rng(seed)
    faces = np.stack([texture(generator, SIDE, SIDE) for _ in range(frames)])
    return Window(faces, generator.uniform(0, 5, (2, frames - 1)))


def described(name: str, seen: Window) -> np.ndarray:
    return next(system for system in DESCRIPTOR_SYSTEMS if system.name == name).describe(seen)


def test_each_system_describes_a_window_by_its_own_numbers() -> None:
    assert {system.name: system.describe(window()).shape for system in DESCRIPTOR_SYSTEMS} == {
        name: (size,) for name, size in SIZES.items()
    }
    assert CnnSvm().describe(window()).shape == (3 * SIDE * SIDE,)


def test_colour_is_split_into_hue_saturation_value_and_luma_with_differences() -> None:
    """Value and luma by their formulas; hue and saturation of a pure colour."""
    seen = window()
    red, green, blue = (seen.faces[0, :, :, place].astype(float) for place in range(3))
    value = np.maximum(np.maximum(red, green), blue).astype(np.uint8)
    luma = np.clip(np.round(0.299 * red + 0.587 * green + 0.114 * blue), 0, 255).astype(np.uint8)
    by_channel = described("color_lbp", seen).reshape(6, 59)
    for place, plane in ((2, value), (3, luma)):
        expected = uniform_histogram(pattern_codes(plane, diagonal=CIRCLE))
        # OpenCV rounds luma in whole numbers: of 3,844 patterns a few may differ by one gray level.
        assert np.abs(by_channel[place] - expected).sum() < 0.02
    by_pairs = described("color_texture", seen).reshape(6, 1024)
    np.testing.assert_array_equal(by_pairs[2], coalbp_histogram(value))


def test_lbp_and_lbp_top_see_gray_alone() -> None:
    seen = window()
    gray = np.stack([cv2.cvtColor(face, cv2.COLOR_RGB2GRAY) for face in seen.faces])
    plain = Window(np.repeat(gray[..., None], 3, 3), seen.motion)
    for name in ("lbp", "lbp_top"):
        np.testing.assert_array_equal(described(name, seen), described(name, plain))
    np.testing.assert_array_equal(described("lbp", seen), uniform_histogram(pattern_codes(gray[0])))
    first, other = described("lbp_top", seen), described("lbp_top", Window(seen.faces[::-1], seen.motion))
    np.testing.assert_allclose(first[:59], other[:59])
    assert (first[59:] != other[59:]).any(), "time runs the other way"


def test_motion_by_hand() -> None:
    seen = Window(window().faces, np.array([[1.0, 2.0, 3.0], [4.0, 4.0, 4.0]]))
    # Of 1, 2, 3 the Fourier magnitudes are 6 and twice the square root of 3.
    expected = [1, 3, 2, np.sqrt(2 / 3), 2 * np.sqrt(3) / 6, 4, 4, 4, 0, 0]
    np.testing.assert_allclose(motion(seen), expected, rtol=1e-6, atol=1e-6)
    still = Window(window().faces, np.zeros((2, 3)))
    assert motion(still).tolist() == [0.0] * 10


def test_the_svm_parts_two_sides_that_are_no_halves_of_space() -> None:
    """A ring about a cloud, ten to one: what a linear machine or one that ignores the smaller side would miss."""
    generator = np.random.default_rng(0)
    angles = generator.uniform(0, 2 * np.pi, 200)
    ring = 5 * np.stack([np.cos(angles), np.sin(angles)], 1) + generator.normal(0, 0.3, (200, 2))
    cloud = generator.normal(0, 0.3, (20, 2))
    judge = svm(np.concatenate([ring, cloud]) * [1000, 1] + [0, 7], np.arange(220) < 200)
    found = judge(np.array([[0.0, 0.1], [5.0, 0.0], [0.0, -5.0]]) * [1000, 1] + [0, 7])
    assert found.shape == (3,)
    assert (found > 0).tolist() == [False, True, True]


def test_the_svm_gives_the_smaller_side_its_due() -> None:
    """Twenty live ones in the midst of as dense a side of four hundred: counted alike, all would be attacks."""
    generator = np.random.default_rng(1)
    rows = np.concatenate([generator.normal(0, 1, (20, 1)), generator.normal(1.5, 1, (400, 1))])
    judge = svm(rows, np.arange(420) >= 20)
    assert (judge(rows[:20]) < 0).mean() > 0.5
    assert (judge(rows[20:]) > 0).mean() > 0.5


@pytest.mark.parametrize("side", [True, False])
def test_one_side_is_not_enough(side: bool) -> None:
    with pytest.raises(InputError, match="expected live clips and attacks to learn from; got only one side"):
        svm(np.zeros((3, 2)), np.array([side] * 3))


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> list[FaceClip]:
    """Six live clips that move, six attacks that are one frame, shaken; 8 of them to learn from."""
    root = tmp_path_factory.mktemp("faces")
    made = []
    for number in range(6):
        for how in ("normal", "replay"):
            path = write(root / f"{how}{number}.avi", moving(10 * number + (how == "replay"), how, frames=9))
            made.append(FaceClip(path, "train", str(number), None if how == "normal" else "video"))
    return made


def test_a_clip_is_judged_by_the_mean_over_its_windows(tmp_path: Path, clips: list[FaceClip]) -> None:
    long = FaceClip(write(tmp_path / "long.avi", moving(77, frames=80)), "test", "9", None)
    classifier = Classifier(DESCRIPTOR_SYSTEMS[0])
    judge = classifier.learn(clips)
    rows = classifier.describe(long)
    assert rows is not None
    assert rows.shape == (2, 59), "the first 20 frames, and those from 2 s on"
    descriptions = [found for each in clips if (found := classifier.describe(each)) is not None]
    whole = svm(np.concatenate(descriptions), np.array([not each.live for each in clips]))
    assert judge([long]) == [pytest.approx(float(np.mean(whole(rows))))]


@pytest.mark.parametrize("system", [DESCRIPTOR_SYSTEMS[2], QUICK], ids=lambda each: each.name)
def test_both_sides_are_learned_from(system: System, clips: list[FaceClip]) -> None:
    """Attacks score above live clips that were learned from: the sign is right, and the classes are not swapped."""
    classifier = Classifier(system, seed=3)
    scores = classifier.learn(clips)(clips)
    live = [score for score, each in zip(scores, clips, strict=True) if each.live and score is not None]
    attacks = [score for score, each in zip(scores, clips, strict=True) if not each.live and score is not None]
    assert len(live) == len(attacks) == 6
    assert np.mean(live) < np.mean(attacks)
    again = Classifier(system, seed=3).learn(clips)(clips)
    assert again == scores


def test_what_can_not_be_read_has_no_score(tmp_path: Path, clips: list[FaceClip]) -> None:
    broken = FaceClip(tmp_path / "broken.avi", "train", "1", None)
    broken.path.write_text("words")
    judge = Classifier(DESCRIPTOR_SYSTEMS[0]).learn([*clips, broken])
    assert judge([broken, clips[0]])[0] is None
    with pytest.raises(InputError, match="none of the clips can be read"):
        Classifier(DESCRIPTOR_SYSTEMS[0]).learn([broken])


def test_a_clip_is_decoded_once(clips: list[FaceClip], monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[Path] = []

    def counted(clip: FaceClip, *, boxes: bool) -> Iterator[Window]:
        opened.append(clip.path)
        return windows_of(clip, boxes=boxes)

    monkeypatch.setattr("novanda.supervised.clips.windows_of", counted)
    classifier = Classifier(DESCRIPTOR_SYSTEMS[0])
    for _ in range(3):
        classifier.learn(clips)(clips)
    assert opened == [clip.path for clip in clips]


def test_a_network_that_is_brought_serves_as_it_is(tmp_path: Path, clips: list[FaceClip]) -> None:
    torch.manual_seed(5)
    network, _ = make_network("residual", 3)
    save_file(network.state_dict(), tmp_path / "weights.safetensors")
    system = CnnSvm(FrozenFeatures(weights=str(tmp_path / "weights.safetensors")), Training(device="cpu"))
    assert len(system.settings()["weights"]) == 16
    assert CnnSvm(FrozenFeatures()).settings()["weights"] == "random"
    assert CnnSvm().settings()["network"] == "from scratch"
    described_clips = np.stack([system.describe(window(seed)) for seed in range(6)])
    attack = np.arange(6) % 2 == 0
    mean, deviation = (np.array(each)[:, None, None] for each in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    scaled = (described_clips.reshape(-1, 3, SIDE, SIDE) / 255 - mean) / deviation
    with torch.inference_mode():
        features = network.eval()(torch.tensor(scaled, dtype=torch.float32)).numpy()
    expected = svm(features, attack)(features)
    np.testing.assert_allclose(system.learn(described_clips, attack, 0)(described_clips), expected, atol=1e-3)
