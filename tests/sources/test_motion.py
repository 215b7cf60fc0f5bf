"""Flow against known shifts, mirrored frames, other intervals; which frames are paired against a plain loop."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from clips import moving, texture
from novanda.augment import mirror
from novanda.recordings import VideoForm
from novanda.sources.motion import FINER, FULL, Pair, Pairing, flow_spec

FORM = VideoForm(interval=0.1, hop_seconds=0.1)
SIDE = FINER * FORM.side  # frames of this size are not resized


def flow_between(first: np.ndarray, second: np.ndarray, seconds: float = 0.1, form: VideoForm = FORM) -> np.ndarray:
    pairing = Pairing(form)
    assert not list(pairing.feed(0.0, first))
    (pair,) = pairing.feed(seconds, second)
    assert (pair.start, pair.end) == (0.0, seconds)
    return pair.flow


@pytest.mark.parametrize(("x", "y"), [(4, -2), (-3, 0), (0, 5), (-7, 6), (0, 0)])
def test_a_picture_moved_by_whole_pixels(x: int, y: int) -> None:
    large = texture(np.random.default_rng(0), SIDE + 40, SIDE + 40)
    first, second = large[20 : 20 + SIDE, 20 : 20 + SIDE], large[20 - y : 20 - y + SIDE, 20 - x : 20 - x + SIDE]
    flow = flow_between(first, second)
    assert flow.shape == (2, 32, 32)
    assert flow.dtype == np.float32
    inside = flow[:, 4:-4, 4:-4] * FINER
    np.testing.assert_allclose(inside[0], x, atol=0.1)
    np.testing.assert_allclose(inside[1], y, atol=0.1)


def test_frames_of_any_shape_are_squeezed_into_the_square() -> None:
    large = texture(np.random.default_rng(1), 300, 600)
    # 12 of 480 pixels are a fortieth of the width, as which the sample tells it; 6 of 240 are one of the height.
    flow = flow_between(large[30:270, 60:540], large[24:264, 48:528])
    np.testing.assert_allclose(flow[:, 4:-4, 4:-4], 32 / 40, atol=0.06)


def test_gray_frames_and_frames_of_one_channel_are_as_colour() -> None:
    gray = texture(np.random.default_rng(2), SIDE, SIDE)[:, :, 0]
    moved = np.roll(gray, 3, 1)
    wanted = flow_between(gray, moved)
    for shape in ((SIDE, SIDE, 1), (SIDE, SIDE, 3)):
        first, second = (np.broadcast_to(each[:, :, None], shape) for each in (gray, moved))
        np.testing.assert_array_equal(flow_between(np.ascontiguousarray(first), np.ascontiguousarray(second)), wanted)


def test_colour_becomes_gray_by_the_weights_of_television() -> None:
    first, second = moving(6)[[0, 2]]
    gray = [np.asarray(Image.fromarray(frame).convert("L")) for frame in (first, second)]  # Pillow's ITU-R 601
    np.testing.assert_allclose(flow_between(first, second), flow_between(gray[0], gray[1]), atol=0.1)
    other = [np.asarray(Image.fromarray(frame[:, :, ::-1]).convert("L")) for frame in (first, second)]
    assert np.abs(flow_between(first, second) - flow_between(other[0], other[1])).max() > 0.1


def test_mirrored_frames_give_mirrored_flow_with_x_negated() -> None:
    first, second = moving(3)[[0, 2]]
    flow = flow_between(first, second)
    mirrored = flow_between(np.ascontiguousarray(first[:, ::-1]), np.ascontiguousarray(second[:, ::-1]))
    assert flow[0].max() > 0.5
    assert mirrored[0].min() < -0.5
    wanted = mirror(torch.from_numpy(flow[None]), torch.tensor([True]), "flow")[0].numpy()
    np.testing.assert_allclose(wanted[0], -flow[0, :, ::-1])
    # The search runs from one corner to the other, so that the edges of objects differ a little.
    assert np.abs(mirrored - wanted).mean() < 0.03
    assert np.corrcoef(mirrored.ravel(), wanted.ravel())[0, 1] > 0.97


def test_flow_is_scaled_to_the_interval() -> None:
    first, second = moving(4)[[0, 2]]
    np.testing.assert_allclose(flow_between(first, second, 0.16), flow_between(first, second, 0.1) / 1.6, rtol=1e-5)


def paired_by_a_loop(times: list[float], form: VideoForm) -> list[tuple[float, float]]:
    """Which frames are paired, looked up in the list of all times."""
    pairs, after = [], -1.0
    for turn in range(1000):
        starts = [each for each in times if each >= turn * form.hop_seconds - 1e-3]
        if not starts or starts[0] <= after:
            continue
        start = after = starts[0]
        ends = [each for each in times if each >= start + form.interval - 1e-3]
        if ends and ends[0] - start <= 3 * form.interval + 1e-3:
            pairs.append((start, ends[0]))
    return pairs


@pytest.mark.parametrize(("interval", "hop"), [(0.1, 0.2), (0.1, 0.1), (0.5, 0.04), (0.04, 0.5), (0.3, 0.07)])
@pytest.mark.parametrize("seed", range(3))
def test_frames_at_any_times_are_paired_as_a_loop_does(interval: float, hop: float, seed: int) -> None:
    steps = np.random.default_rng(seed).choice([0.033, 0.034, 0.04, 0.2, 0.9], 60, p=[0.3, 0.3, 0.2, 0.15, 0.05])
    times = [0.0, *np.cumsum(steps).round(3).tolist()]
    form = VideoForm(side=8, interval=interval, hop_seconds=hop)
    pairing, frame = Pairing(form), np.zeros((16, 16), np.uint8)
    found = [pair for moment in times for pair in pairing.feed(moment, frame)]
    wanted = paired_by_a_loop(times, form)
    assert len(wanted) > 5
    np.testing.assert_allclose([(pair.start, pair.end) for pair in found], wanted)
    assert all(isinstance(pair, Pair) and pair.flow.shape == (2, 8, 8) for pair in found)


def test_the_scale_is_a_sixteenth_of_the_side() -> None:
    spec = flow_spec(VideoForm(side=64))
    assert (spec.kind, spec.shape, spec.low, spec.high) == ("flow", (2, 64, 64), -4.0, 4.0)
    assert spec.high == FULL * 64
