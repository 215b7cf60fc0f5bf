"""Augmentation against kornia, torch and NumPy, and M(x)'s promise never to be close to the identity."""

from __future__ import annotations

import itertools
import math
from dataclasses import fields, replace
from typing import Any

import kornia
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from novanda.augment import (
    SECTION_2_1,
    SECTION_2_3,
    Draw,
    NegativeAugmentation,
    Transformation,
    crop_and_recolor,
    false_colors,
    legal_transformations,
    mirror,
    quarter_turns,
    recolor,
    resample,
    shift_and_mirror,
    translate,
)
from novanda.errors import InputError
from novanda.samples import Kind

SUBSETS: list[tuple[Transformation, ...]] = [
    subset for size in range(1, 6) for subset in itertools.combinations(SECTION_2_3, size)
]
SPATIAL: set[Transformation] = {"crop", "flip", "rotation"}


def _seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def _random(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(shape, generator=_seeded(seed)) * 2 - 1


def _smooth(*shape: int, seed: int = 0) -> Tensor:
    """Noise of low frequency: two bilinear interpolations of it are close to one."""
    coarse = _random(shape[0], shape[1], 4, 4, seed=seed)
    return F.interpolate(coarse, shape[2:], mode="bicubic", align_corners=True).clamp(-1, 1)


def _still(count: int, **changes: Any) -> Draw:
    """The identity, but for what is given."""
    one, zero, no = torch.ones(count), torch.zeros(count), torch.zeros(count, dtype=torch.bool)
    still = {"scale_x": one, "scale_y": one, "brightness": one, "contrast": one, "saturation": one}
    still |= {"center_x": zero, "center_y": zero, "angle": zero, "hue": zero, "flipped": no, "gray": no}
    for name, value in changes.items():
        still[name] = torch.as_tensor(value).expand(count)
    return Draw(**still)


def _parts(draw: Draw) -> dict[str, Tensor]:
    return {f.name: getattr(draw, f.name) for f in fields(Draw)}


# ---------------------------------------------------------------------------------------------------------------
# resample


def test_the_identity_draw_changes_nothing() -> None:
    images = _random(2, 3, 7, 12)
    torch.testing.assert_close(resample(images, _still(2)), images, rtol=0, atol=2e-6)
    torch.testing.assert_close(recolor(images, _still(2)), images, rtol=0, atol=2e-6)


def test_flip_alone_mirrors_left_to_right() -> None:
    images = _random(3, 2, 6, 9)
    found = resample(images, _still(3, flipped=torch.tensor([True, False, True])))
    expected = torch.stack([images[0].flip(2), images[1], images[2].flip(2)])
    torch.testing.assert_close(found, expected, rtol=0, atol=2e-6)


@pytest.mark.parametrize("shape", [(16, 16), (12, 20), (24, 9)])
def test_crop_alone_is_an_enlarged_window(shape: tuple[int, int]) -> None:
    height, width = shape
    images = _smooth(1, 3, *shape)
    for top, left, rows, columns in ((0, 0, height, width), (2, 1, height // 2, width // 3), (1, 3, height - 1, 5)):
        draw = _still(
            1,
            scale_x=columns / width,
            scale_y=rows / height,
            center_x=2 * (left + columns / 2) / width - 1,
            center_y=2 * (top + rows / 2) / height - 1,
        )
        found = resample(images, draw)
        window = images[:, :, top : top + rows, left : left + columns]
        expected = F.interpolate(window, shape, mode="bilinear", align_corners=False)
        # Near its own border the window repeats its edge, where the crop looks at the pixels beyond: compare within.
        y, x = (math.ceil(0.5 * size / part) for size, part in ((height, rows), (width, columns)))
        inner = (..., slice(y, height - y), slice(x, width - x))
        assert found[inner].numel()
        torch.testing.assert_close(found[inner], expected[inner], rtol=0, atol=1e-5)


@pytest.mark.parametrize("shape", [(16, 16), (12, 20), (24, 9)])
@pytest.mark.parametrize("degrees", [-135.0, -90.0, -20.0, 10.0, 45.0, 90.0, 180.0])
def test_rotation_alone_is_kornias(shape: tuple[int, int], degrees: float) -> None:
    """Counter-clockwise, about the middle, in pixels: kornia works on pixels, ours on normalised units."""
    images = _smooth(1, 2, *shape)
    height, width = shape
    center = torch.tensor([[(width - 1) / 2, (height - 1) / 2]])
    matrix = kornia.geometry.get_rotation_matrix2d(center, torch.tensor([degrees]), torch.ones(1, 2))
    expected = kornia.geometry.warp_affine(images, matrix, shape, padding_mode="reflection", align_corners=False)
    found = resample(images, _still(1, angle=math.radians(degrees)))
    # align_corners=False of kornia's warp reads half a pixel differently at the border, where reflection begins.
    inside = kornia.geometry.warp_affine(torch.ones_like(images), matrix, shape, align_corners=False) > 0.999
    assert inside.float().mean() > 0.2
    torch.testing.assert_close(found[inside], expected[inside], rtol=0, atol=2e-4)


def test_rotation_is_counter_clockwise_as_numpys() -> None:
    images = _random(2, 3, 8, 8)
    for turns in range(4):
        found = resample(images, _still(2, angle=math.radians(90 * turns)))
        expected = torch.from_numpy(np.rot90(images.numpy(), turns, (2, 3)).copy())
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)


def _crop_matrix(draw: Draw, i: int, height: int, width: int) -> np.ndarray:
    """Where an output pixel comes from, in pixels: flip, then scale, then turn, then the crop's middle."""
    to_centered = np.array([[1, 0, -(width - 1) / 2], [0, 1, -(height - 1) / 2], [0, 0, 1.0]])
    flip = np.diag([-1.0 if draw.flipped[i] else 1.0, 1, 1])
    scale = np.diag([draw.scale_x[i].item(), draw.scale_y[i].item(), 1])
    c, s = math.cos(draw.angle[i].item()), math.sin(draw.angle[i].item())
    turn = np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]])
    middle = np.array([[1, 0, draw.center_x[i].item() * width / 2], [0, 1, draw.center_y[i].item() * height / 2]])
    middle = np.vstack([middle, [0, 0, 1]])
    matrix: np.ndarray = np.linalg.inv(to_centered) @ middle @ turn @ scale @ flip @ to_centered
    return matrix


def _mirrored(place: float, size: int) -> float:
    """A pixel coordinate beyond the border reflected about the border (half a pixel outside the last pixel)."""
    place = (place + 0.5) % (2 * size)
    place = 2 * size - place if place > size else place
    return min(max(place - 0.5, 0), size - 1)


@pytest.mark.parametrize("shape", [(9, 9), (7, 12)])
def test_all_combined_is_the_stated_map_of_pixels(shape: tuple[int, int]) -> None:
    height, width = shape
    images = _random(6, 2, height, width)
    draw = NegativeAugmentation(transformations=("crop", "flip", "rotation")).draw(6, _seeded(3))
    assert draw.flipped.any()
    assert not draw.flipped.all()
    expected = np.zeros_like(images.numpy())
    for i in range(6):
        matrix = _crop_matrix(draw, i, height, width)
        for row, column in itertools.product(range(height), range(width)):
            x, y, _ = matrix @ [column, row, 1]
            x, y = _mirrored(x, width), _mirrored(y, height)
            left, top = min(int(x), width - 2), min(int(y), height - 2)
            a, b = x - left, y - top
            plane = images[i].numpy()
            expected[i, :, row, column] = (
                (1 - b) * (1 - a) * plane[:, top, left]
                + (1 - b) * a * plane[:, top, left + 1]
                + b * (1 - a) * plane[:, top + 1, left]
                + b * a * plane[:, top + 1, left + 1]
            )
    np.testing.assert_allclose(resample(images, draw), expected, atol=2e-5)


def test_all_combined_is_rotation_then_crop_then_flip_of_a_smooth_image() -> None:
    """In sequence, each resampled on its own: turned by the angle about the crop's middle, cropped, mirrored."""
    images = _smooth(1, 3, 64, 64)
    angle, scale = math.radians(25), 0.5
    together = resample(images, _still(1, angle=angle, scale_x=scale, scale_y=scale, flipped=True))
    turned = resample(images, _still(1, angle=angle))
    cropped = resample(turned, _still(1, scale_x=scale, scale_y=scale))
    torch.testing.assert_close(together, cropped.flip(3), rtol=0, atol=0.02)
    # The other order is another image, so that the order is tested at all.
    assert (together - resample(cropped.flip(3), _still(1, angle=2 * angle))).abs().mean() > 0.05


# ---------------------------------------------------------------------------------------------------------------
# recolor


def test_false_colors_are_those_of_loops() -> None:
    images = torch.rand(2, 3, 4, 6, generator=torch.Generator().manual_seed(0)) * 2 - 1
    found = false_colors(images)
    assert found.shape == (5, 2, 3, 4, 6)
    for b, y, x in itertools.product(range(2), range(4), range(6)):
        red, green, blue = images[b, :, y, x].tolist()
        gray = 0.299 * red + 0.587 * green + 0.114 * blue
        expected = [
            (red, green, blue),
            (green, blue, red),
            (blue, red, green),
            (-red, -green, -blue),
            (gray, gray, gray),
        ]
        np.testing.assert_allclose(found[:, b, :, y, x].numpy(), expected, atol=1e-6)
    one = images[:, :1]
    assert torch.equal(false_colors(one), torch.stack([one, -one]))


def _unit(images: Tensor) -> Tensor:
    return (images + 1) / 2


@pytest.mark.parametrize("factor", [0.6, 1.0, 1.4])
def test_brightness_contrast_and_saturation_are_kornias(factor: float) -> None:
    images = _random(2, 3, 8, 8)
    x = _unit(images)
    enhance = kornia.enhance
    for name, expected in (
        ("brightness", enhance.adjust_brightness_accumulative(x, factor)),
        ("contrast", enhance.adjust_contrast_with_mean_subtraction(x, factor)),
        ("saturation", enhance.adjust_saturation_with_gray_subtraction(x, factor)),
    ):
        # Same formulas; luma weights are rounded alike to three digits, so only float32 rounding remains.
        torch.testing.assert_close(_unit(recolor(images, _still(2, **{name: factor}))), expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("turns", [-0.5, -0.3, -0.1, 0.05, 0.1, 0.25, 0.5])
def test_hue_is_kornias(turns: float) -> None:
    images = _random(2, 3, 16, 16)
    found = _unit(recolor(images, _still(2, hue=turns)))
    expected = kornia.enhance.adjust_hue(_unit(images), 2 * math.pi * turns)
    # kornia keeps hue in radians and adds 1e-8 to divisors: a few roundings more.
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-4)


def test_grayscale_is_kornias_on_three_equal_channels() -> None:
    images = _random(2, 3, 8, 8)
    found = _unit(recolor(images, _still(2, gray=torch.tensor([True, False]))))
    torch.testing.assert_close(found[:1], kornia.color.rgb_to_grayscale(_unit(images[:1])).expand(1, 3, 8, 8))
    assert torch.equal(found[0, 0], found[0, 1])
    torch.testing.assert_close(found[1], _unit(images[1]))


def test_all_colours_combined_come_in_the_stated_order() -> None:
    images = _random(1, 3, 16, 16)
    draw = _still(1, brightness=1.3, contrast=0.7, saturation=1.4, hue=-0.08)
    x = kornia.enhance.adjust_brightness_accumulative(_unit(images), 1.3)
    x = kornia.enhance.adjust_contrast_with_mean_subtraction(x, 0.7)
    x = kornia.enhance.adjust_saturation_with_gray_subtraction(x, 1.4)
    x = kornia.enhance.adjust_hue(x, -0.08 * 2 * math.pi)
    torch.testing.assert_close(_unit(recolor(images, draw)), x, rtol=0, atol=1e-4)


def test_hue_keeps_grays_black_and_white() -> None:
    images = torch.stack([torch.full((3, 2, 2), v) for v in (-1.0, 0.3, 1.0)])
    torch.testing.assert_close(recolor(images, _still(3, hue=0.4)), images, rtol=0, atol=1e-6)


@pytest.mark.parametrize("channels", [1, 2, 4])
def test_other_than_three_channels_have_brightness_and_contrast_only(channels: int) -> None:
    images = _random(1, channels, 8, 8)
    draw = _still(1, brightness=0.8, contrast=1.3, saturation=0.1, hue=0.5, gray=True)
    x = (_unit(images) * 0.8).clamp(0, 1)
    expected = (x.mean() + (x - x.mean()) * 1.3).clamp(0, 1)
    torch.testing.assert_close(_unit(recolor(images, draw)), expected)


# ---------------------------------------------------------------------------------------------------------------
# Random numbers


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**31), cuts=st.lists(st.integers(0, 24), max_size=5), subset=st.sampled_from(SUBSETS))
def test_any_split_of_the_batch_gives_the_same(seed: int, cuts: list[int], subset: tuple[Transformation, ...]) -> None:
    images = _random(24, 3, 8, 10)
    augmentation = NegativeAugmentation(transformations=subset)
    whole, parts = _seeded(seed), _seeded(seed)
    together = augmentation(images, whole)
    edges = [0, *sorted(cuts), 24]
    split = torch.cat([augmentation(images[a:b], parts) for a, b in itertools.pairwise(edges)])
    # To rounding: a part in which no hue is turned skips the way to HSV and back.
    torch.testing.assert_close(together, split, rtol=0, atol=2e-6)
    assert torch.equal(whole.get_state(), parts.get_state())

    drawn = augmentation.draw(24, _seeded(seed))
    again = _seeded(seed)
    pieces = [augmentation.draw(b - a, again) for a, b in itertools.pairwise(edges)]
    for name, values in _parts(drawn).items():
        assert torch.equal(values, torch.cat([getattr(p, name) for p in pieces])), name


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**31), cut=st.integers(0, 24))
def test_any_split_of_the_batch_is_shifted_alike(seed: int, cut: int) -> None:
    images = _random(24, 3, 8, 10)
    whole, parts = _seeded(seed), _seeded(seed)
    split = [shift_and_mirror(images[:cut], parts), shift_and_mirror(images[cut:], parts)]
    assert torch.equal(shift_and_mirror(images, whole), torch.cat(split))
    assert torch.equal(whole.get_state(), parts.get_state())


def test_mixed_precision_does_not_reach_into_augmentation() -> None:
    images = _random(20, 3, 16, 16)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        mixed = NegativeAugmentation()(images, _seeded())
    assert torch.equal(mixed, NegativeAugmentation()(images, _seeded()))


def test_only_the_generator_given_is_drawn_from() -> None:
    before = torch.get_rng_state()
    images = _random(4, 3, 8, 8)
    first = NegativeAugmentation()(images, _seeded(1))
    assert torch.equal(first, NegativeAugmentation()(images, _seeded(1)))
    assert not torch.equal(first, NegativeAugmentation()(images, _seeded(2)))
    shift_and_mirror(images, _seeded(1))
    assert torch.equal(torch.get_rng_state(), before)


# ---------------------------------------------------------------------------------------------------------------
# Never the identity


def _real_looking() -> Tensor:
    """A picture with a smooth background, an object with an edge, colour and some texture; no symmetry."""
    y, x = torch.meshgrid(torch.linspace(-1, 1, 32), torch.linspace(-1, 1, 32), indexing="ij")
    sky = torch.stack([0.2 + 0.3 * y, 0.1 + 0.2 * y - 0.2 * x, 0.6 - 0.4 * y])
    inside = ((x - 0.3) / 0.5) ** 2 + ((y - 0.2) / 0.35) ** 2 + 0.4 * x * y < 1
    body = torch.stack([0.5 + 0.3 * x, -0.3 + 0.1 * y, -0.5 + 0.1 * x])
    return (torch.where(inside, body, sky) + 0.05 * _random(3, 32, 32)).clamp(-1, 1)[None]


@pytest.mark.parametrize("subset", SUBSETS, ids="+".join)
def test_no_draw_is_near_the_identity(subset: tuple[Transformation, ...]) -> None:
    draw = NegativeAugmentation(transformations=subset).draw(10_000, _seeded(len(subset)))
    far = draw.gray.clone()
    far |= draw.scale_x * draw.scale_y <= 0.5401
    far |= draw.angle.abs() >= math.radians(14.999)
    for name in ("brightness", "contrast", "saturation"):
        far |= (getattr(draw, name) - 1).abs() >= 0.1999
    far |= draw.hue.abs() >= 0.04999
    if subset == ("flip",):
        far |= draw.flipped
    assert far.all()

    # On pixels, too; 2,000 of them for the time's sake. The least change is a hue turned by 0.05, or a saturation or
    # contrast by a fifth.
    image = _real_looking().expand(2_000, -1, -1, -1)
    change = (NegativeAugmentation(transformations=subset)(image, _seeded(9)) - image).abs().mean((1, 2, 3))
    assert change.min() > 0.02


@pytest.mark.parametrize(
    ("change", "near"),
    [
        ({}, True),
        ({"flipped": True}, True),  # a mirrored car is a car
        ({"center_x": 0.9, "scale_x": 0.9, "scale_y": 0.9}, True),
        ({"scale_x": 0.73, "scale_y": 0.73}, False),
        ({"angle": 0.26}, True),
        ({"angle": -0.263}, False),
        ({"gray": True}, False),
        ({"hue": 0.049}, True),
        ({"hue": -0.051}, False),
        *(({name: factor}, near) for name in ("brightness", "contrast", "saturation")
          for factor, near in ((0.81, True), (1.19, True), (0.79, False), (1.21, False))),
    ],
)  # fmt: skip
def test_near_is_less_than_half_of_what_is_possible(change: dict[str, Any], near: bool) -> None:
    found = NegativeAugmentation().near_identity(_still(2, **change), SECTION_2_3)
    assert found.tolist() == [near, near]


WEAK: list[dict[str, Any]] = [
    {"transformations": ("crop",), "crop_scale": (0.95, 1.0)},
    {"transformations": ("crop",), "crop_scale": (0.98, 0.98), "crop_ratio": (1.0, 1.0)},
    {"transformations": ("crop",), "crop_scale": (1.0, 1.0), "crop_ratio": (1.0, 1.1)},
    {"transformations": ("crop",), "crop_scale": (1.0, 1.0), "crop_ratio": (0.9, 1.0)},
    {"transformations": ("rotation",), "rotation_degrees": 2.0},
    {"transformations": ("color_jitter",), "brightness": 0.02, "contrast": 0.0, "saturation": 0.0, "hue": 0.0},
    {"transformations": ("color_jitter",), "brightness": 0.0, "contrast": 0.0, "saturation": 0.0, "hue": 0.02},
    {"transformations": ("color_jitter",), "jitter_probability": 0.01},
    {"transformations": ("grayscale",), "grayscale_probability": 0.001},
    {"transformations": ("flip",), "flip_probability": 0.001},
    {"transformations": ("crop", "rotation"), "crop_scale": (1.0, 1.0), "crop_ratio": (1.0, 1.0)},
    {"transformations": ("crop", "rotation"), "rotation_degrees": 0.0},
    {"transformations": ("flip", "rotation"), "rotation_degrees": 0.0},
    {"rotation_degrees": 0.0, "crop_scale": (1.0, 1.0)},
    {
        "crop_scale": (0.99, 1.0),
        "crop_ratio": (1.0, 1.0),
        "flip_probability": 0.0,
        "brightness": 0.01,
        "contrast": 0.01,
        "saturation": 0.01,
        "hue": 0.01,
        "grayscale_probability": 0.0,
        "rotation_degrees": 1.0,
    },
]


@pytest.mark.parametrize("weak", WEAK, ids=lambda w: "-".join(map(str, w.values())))
def test_weak_settings_end_and_never_give_the_identity(weak: dict[str, Any]) -> None:
    image = _real_looking().expand(500, -1, -1, -1)
    change = (NegativeAugmentation(**weak)(image, _seeded()) - image).abs().mean((1, 2, 3))
    assert change.min() > 1e-3


def test_weak_crops_are_still_random() -> None:
    """Rejection is by half of what is possible; were it by a fixed area, every crop would be the same forced one."""
    draw = NegativeAugmentation(transformations=("crop",), crop_scale=(0.9, 1.0)).draw(200, _seeded())
    assert len(set((draw.scale_x * draw.scale_y).tolist())) > 150
    assert (draw.center_x != 0).float().mean() > 0.5


def test_no_rotation_does_not_switch_the_rejection_off() -> None:
    draw = NegativeAugmentation(rotation_degrees=0, jitter_probability=0.1).draw(2000, _seeded())
    far = draw.gray | (draw.scale_x * draw.scale_y <= 0.5401) | (draw.brightness != 1)
    assert far.all()


@pytest.mark.parametrize(
    "nothing",
    [
        {"transformations": ("crop",), "crop_scale": (1.0, 1.0), "crop_ratio": (1.0, 1.0)},
        {"transformations": ("flip",), "flip_probability": 0.0},
        {"transformations": ("grayscale",), "grayscale_probability": 0},
        {"transformations": ("rotation",), "rotation_degrees": 0.0},
        {"transformations": ("rotation",), "rotation_degrees": 1e-6},
        {"transformations": ("color_jitter",), "jitter_probability": 0.0},
        {"transformations": ("color_jitter",), "brightness": 0, "contrast": 0, "saturation": 0, "hue": 0},
    ],
)
def test_settings_that_can_change_nothing_are_refused(nothing: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=rf"by {nothing['transformations'][0]} .*Raise one"):
        NegativeAugmentation(**nothing)(_random(2, 3, 8, 8), _seeded())


def test_colour_strengths_count_only_where_there_is_colour() -> None:
    colour = NegativeAugmentation(transformations=("color_jitter",), brightness=0, contrast=0)
    assert colour.selected("image", 3) == ("color_jitter",)
    with pytest.raises(InputError, match="1 channel"):
        colour.selected("image", 1)


def test_what_has_no_probability_is_never_forced() -> None:
    """The last resort where all attempts were near the identity keeps to the settings, too."""
    augmentation = NegativeAugmentation(
        crop_scale=(0.9, 1.0), flip_probability=0, grayscale_probability=0, jitter_probability=0, rotation_degrees=3
    )
    draw = augmentation.draw(5000, _seeded())
    assert not draw.flipped.any()
    assert not draw.gray.any()
    assert (draw.brightness == 1).all()


# ---------------------------------------------------------------------------------------------------------------
# Ranges and probabilities


def test_parameters_have_the_stated_ranges() -> None:
    draw = NegativeAugmentation().draw(20_000, _seeded())
    area = draw.scale_x * draw.scale_y
    assert area.min() < 0.09
    assert area.min() >= 0.0799
    assert area.max() > 0.95
    assert max(draw.scale_x.max(), draw.scale_y.max()) <= 1
    ratio = (draw.scale_x / draw.scale_y)[(draw.scale_x < 1) & (draw.scale_y < 1)]
    assert ratio.min() >= 0.7499
    assert ratio.max() <= 1.3334
    # Uniform in the logarithm: its middle is a square.
    assert ratio.log().median().abs() < 0.01
    for scale, center in ((draw.scale_x, draw.center_x), (draw.scale_y, draw.center_y)):
        assert ((center.abs() + scale) <= 1 + 1e-6).all()  # the crop lies within the image
        assert center.mean().abs() < 0.01
    for name in ("brightness", "contrast", "saturation"):
        values = getattr(draw, name)
        assert 0.5999 <= values.min() < 0.61
        assert 1.39 < values.max() <= 1.4001
    assert -0.1 <= draw.hue.min() < -0.099
    assert 0.099 < draw.hue.max() <= 0.1
    assert -math.pi <= draw.angle.min() < -3.1
    assert 3.1 < draw.angle.max() <= math.pi


def test_probabilities_are_the_stated_ones_but_for_the_rejection() -> None:
    """With everything chosen hardly 1 draw in 200 is near the identity, so rejection moves no share by much."""
    draw = NegativeAugmentation().draw(20_000, _seeded())
    assert draw.flipped.float().mean().item() == pytest.approx(0.5, abs=0.015)
    assert draw.gray.float().mean().item() == pytest.approx(0.2, abs=0.015)
    assert (draw.brightness != 1).float().mean().item() == pytest.approx(0.8, abs=0.015)
    # One coin decides on all of the jitter.
    assert torch.equal(draw.brightness != 1, draw.contrast != 1)
    assert torch.equal(draw.hue != 0, draw.brightness != 1)
    # Transformations are drawn independently of one another.
    together = torch.stack([draw.flipped, draw.gray, draw.hue != 0, draw.angle > 0, draw.center_x > 0]).double()
    assert (torch.corrcoef(together) - torch.eye(5)).abs().max() < 0.04


def test_strengths_are_taken_from_the_settings() -> None:
    settings_ = NegativeAugmentation(
        crop_scale=(0.2, 0.3), flip_probability=1.0, jitter_probability=1.0, brightness=0.1, hue=0.5,
        grayscale_probability=0.7, rotation_degrees=30,
    )  # fmt: skip
    draw = settings_.draw(5000, _seeded())
    assert (draw.scale_x * draw.scale_y).min() >= 0.1999
    assert (draw.scale_x * draw.scale_y).max() <= 0.3001
    assert draw.flipped.all()
    assert (draw.brightness - 1).abs().max().item() == pytest.approx(0.1, abs=1e-3)
    assert draw.hue.abs().max().item() == pytest.approx(0.5, abs=1e-2)
    assert draw.gray.float().mean().item() == pytest.approx(0.7, abs=0.03)
    assert draw.angle.abs().max().item() == pytest.approx(math.radians(30), abs=1e-2)


@pytest.mark.parametrize("alone", SECTION_2_3)
def test_each_transformation_alone_leaves_the_others_out(alone: Transformation) -> None:
    draw = _parts(NegativeAugmentation(transformations=(alone,)).draw(500, _seeded()))
    moved = {name for name, values in draw.items() if not torch.equal(values, getattr(_still(500), name))}
    assert (
        moved
        == {
            "crop": {"scale_x", "scale_y", "center_x", "center_y"},
            "flip": {"flipped"},
            "color_jitter": {"brightness", "contrast", "saturation", "hue"},
            "grayscale": {"gray"},
            "rotation": {"angle"},
        }[alone]
    )


def test_flip_alone_is_always_a_mirroring() -> None:
    images = _random(50, 3, 8, 8)
    found = NegativeAugmentation(transformations=("flip",))(images, _seeded())
    torch.testing.assert_close(found, images.flip(3), rtol=0, atol=2e-6)


# ---------------------------------------------------------------------------------------------------------------
# Kinds


def test_legal_transformations() -> None:
    assert set(legal_transformations("image", 3)) == set(SECTION_2_3)
    assert set(legal_transformations("image", 1)) == set(SECTION_2_3) - {"grayscale"}
    assert set(legal_transformations("image", 4)) == set(SECTION_2_3) - {"grayscale"}
    assert set(legal_transformations("spectrogram", 1)) == {"crop", "flip", "color_jitter"}
    assert set(legal_transformations("spectrogram", 3)) == {"crop", "flip", "color_jitter"}
    assert set(legal_transformations("flow", 2)) == {"crop", "flip"}
    assert legal_transformations("waveform", 1) == legal_transformations("features", 9) == ()
    assert set(SECTION_2_1) == set(SECTION_2_3) - {"rotation"}


@pytest.mark.parametrize(("kind", "channels"), [("image", 1), ("image", 3), ("spectrogram", 1), ("flow", 2)])
def test_the_default_takes_what_is_legal(kind: Kind, channels: int) -> None:
    selected = NegativeAugmentation().selected(kind, channels)
    assert set(selected) == set(legal_transformations(kind, channels))
    draw = NegativeAugmentation().draw(2000, _seeded(), kind, channels)
    assert bool(draw.angle.any()) == (kind == "image")
    assert bool(draw.gray.any()) == (kind == "image" and channels == 3)
    assert bool((draw.brightness != 1).any()) == (kind != "flow")
    images = _random(30, channels, 12, 10)
    found = NegativeAugmentation()(images, _seeded(), kind)
    assert found.shape == images.shape
    assert (found - images).abs().mean((1, 2, 3)).min() > 0.02


@pytest.mark.parametrize(
    ("kind", "channels", "asked"),
    [
        ("spectrogram", 1, ("rotation",)),
        ("spectrogram", 3, ("crop", "grayscale")),
        ("flow", 2, ("color_jitter", "crop")),
        ("flow", 2, ("rotation",)),
        ("image", 1, ("grayscale",)),
        ("waveform", 1, ("flip",)),
        ("waveform", 1, None),
        ("features", 5, None),
    ],
)
def test_what_makes_no_sense_for_a_kind_is_refused(kind: Kind, channels: int, asked: Any) -> None:
    augmentation = NegativeAugmentation(transformations=asked)
    for act in (
        lambda: augmentation.selected(kind, channels),
        lambda: augmentation.draw(2, _seeded(), kind, channels),
        lambda: augmentation(_random(2, channels, 8, 8), _seeded(), kind),
    ):
        with pytest.raises(InputError, match=f"of a {kind} with {channels} channel"):
            act()


def test_a_mirrored_flow_negates_its_x_component() -> None:
    flow = _random(4, 2, 6, 8)
    chosen = torch.tensor([True, False, True, False])
    expected = torch.where(chosen[:, None, None, None], flow.flip(3) * torch.tensor([-1, 1])[:, None, None], flow)
    assert torch.equal(mirror(flow, chosen, "flow"), expected)
    found = resample(flow, _still(4, flipped=chosen), "flow")
    torch.testing.assert_close(found, expected, rtol=0, atol=2e-6)
    # Resampled as an image first, then exactly negated.
    plain = resample(flow, _still(4, flipped=chosen))
    assert torch.equal(found[:, 0], torch.where(chosen[:, None, None], -plain[:, 0], plain[:, 0]))
    assert torch.equal(found[:, 1], plain[:, 1])
    # Motion towards the right edge stays motion towards the mirrored object's side.
    assert torch.equal(mirror(mirror(flow, chosen, "flow"), chosen, "flow"), flow)


# ---------------------------------------------------------------------------------------------------------------
# Arguments, range, gradients


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("transformations", ()),
        ("transformations", []),
        ("transformations", ("crop", "blur")),
        ("transformations", "crop"),
        ("transformations", ({},)),
        ("crop_scale", (0.0, 1.0)),
        ("crop_scale", (0.5, 1.1)),
        ("crop_scale", (0.6, 0.5)),
        ("crop_scale", (0.5,)),
        ("crop_scale", 0.5),
        ("crop_scale", (math.nan, 1.0)),
        ("crop_ratio", (0.0, 1.0)),
        ("crop_ratio", (2.0, 1.0)),
        ("crop_ratio", (1.0, math.inf)),
        ("crop_ratio", ("1", "2")),
        ("flip_probability", -0.1),
        ("flip_probability", "often"),
        ("jitter_probability", 1.1),
        ("grayscale_probability", math.nan),
        ("grayscale_probability", True),
        ("brightness", -0.1),
        ("contrast", 2.0),
        ("saturation", None),
        ("hue", 0.51),
        ("hue", -0.1),
        ("rotation_degrees", 181.0),
        ("rotation_degrees", -1.0),
        ("rotation_degrees", math.inf),
    ],
)
def test_a_wrong_setting_is_refused_by_name(field: str, value: Any) -> None:
    with pytest.raises(InputError, match=rf"^{field} "):
        replace(NegativeAugmentation(), **{field: value})


@pytest.mark.parametrize("subset", SUBSETS, ids="+".join)
def test_images_stay_in_their_range(subset: tuple[Transformation, ...]) -> None:
    images = torch.cat([_random(40, 3, 9, 9), _random(40, 3, 9, 9).sign()])
    images[-1], images[-2] = 1.0, -1.0
    # Recolouring clamps and resampling averages; what remains is rounding in the sums of weights.
    assert NegativeAugmentation(transformations=subset)(images, _seeded()).abs().max() <= 1 + 1e-6


@pytest.mark.parametrize(("kind", "channels"), [("image", 1), ("image", 3), ("spectrogram", 1), ("flow", 2)])
def test_gradients_flow(kind: Kind, channels: int) -> None:
    images = (0.5 * _random(8, channels, 8, 8)).requires_grad_()
    torch.autograd.backward(NegativeAugmentation()(images, _seeded(), kind).square().sum())
    assert images.grad is not None
    assert torch.isfinite(images.grad).all()
    assert (images.grad.abs().sum((1, 2, 3)) > 0).all()
    gray = torch.full((8, channels, 8, 8), 0.25, requires_grad=True)  # where hue and chroma are undefined
    torch.autograd.backward(NegativeAugmentation()(gray, _seeded(), kind).square().sum())
    assert gray.grad is not None
    assert torch.isfinite(gray.grad).all()


def test_gradients_of_the_resampling_are_right() -> None:
    images = _random(2, 1, 4, 5).double().requires_grad_()
    draw = NegativeAugmentation(transformations=("crop", "flip", "rotation")).draw(2, _seeded())
    assert torch.autograd.gradcheck(lambda x: resample(x, draw), images)


# ---------------------------------------------------------------------------------------------------------------
# Mild views and shifts


def _shifted_by_loops(images: np.ndarray, seed: int, padding: int, kind: Kind) -> np.ndarray:
    count, _, height, width = images.shape
    numbers = torch.rand(count, 3, generator=_seeded(seed)).numpy()
    padding = min(padding, height - 1, width - 1)
    out = np.empty_like(images)
    for i in range(count):
        down, right = (int(numbers[i, place] * (2 * padding + 1)) for place in (0, 1))
        if kind == "spectrogram":
            down = padding
        padded = np.pad(images[i], ((0, 0), (padding, padding), (padding, padding)), mode="reflect")
        view = padded[:, down : down + height, right : right + width]
        if kind != "spectrogram" and numbers[i, 2] < 0.5:
            view = view[:, :, ::-1].copy()
            if kind == "flow":
                view[0] *= -1
        out[i] = view
    return out


@pytest.mark.parametrize("kind", ["image", "spectrogram", "flow"])
@pytest.mark.parametrize(("shape", "padding"), [((8, 8), 4), ((6, 11), 3), ((3, 9), 4), ((8, 8), 0), ((1, 7), 4)])
def test_shifts_and_mirrors_against_loops(kind: Kind, shape: tuple[int, int], padding: int) -> None:
    images = _random(40, 2, *shape)
    found = shift_and_mirror(images, _seeded(5), padding, kind)
    np.testing.assert_array_equal(found.numpy(), _shifted_by_loops(images.numpy(), 5, padding, kind))


def test_who_is_mirrored_may_be_said() -> None:
    images = torch.rand(6, 3, 8, 8)
    chosen = torch.tensor([True, False, True, True, False, False])
    told = shift_and_mirror(images, _seeded(), padding=2, mirrored=chosen)
    none = shift_and_mirror(images, _seeded(), padding=2, mirrored=torch.zeros(6, dtype=torch.bool))
    for sample, expected, is_mirrored in zip(told, none, chosen.tolist(), strict=True):
        assert torch.equal(sample, expected.flip(2) if is_mirrored else expected)


def test_a_spectrogram_moves_in_time_only() -> None:
    """Rows are frequencies: each keeps its own constant value wherever it is moved in time."""
    bands = torch.arange(8.0)[:, None].expand(30, 1, 8, 8).contiguous()
    assert torch.equal(shift_and_mirror(bands, _seeded(), kind="spectrogram"), bands)
    assert not torch.equal(shift_and_mirror(bands, _seeded(), kind="image"), bands)
    moments = torch.arange(8.0).expand(30, 1, 8, 8).contiguous()
    assert not torch.equal(shift_and_mirror(moments, _seeded(), kind="spectrogram"), moments)


def test_shifts_reach_every_offset_and_half_are_mirrored() -> None:
    ramp = torch.arange(64.0).view(1, 1, 8, 8).expand(4000, 1, 8, 8)
    views = shift_and_mirror(ramp, _seeded(), padding=2)
    middle = views[:, 0, 4, 4]
    assert len(set(middle.tolist())) > 20
    mirrored = (views[:, 0, 4, 5] < middle).float().mean().item()
    assert mirrored == pytest.approx(0.5, abs=0.03)


def _positive_draw(count: int, seed: int, crop_scale: tuple[float, float], channels: int) -> Draw:
    """What the docstring says, number by number: crops, then 80 % jittered, then 20 % gray."""
    u = torch.rand(count, 12, generator=_seeded(seed)).double()
    area = crop_scale[0] + u[:, 0] * (crop_scale[1] - crop_scale[0])
    ratio = torch.exp(math.log(3 / 4) + u[:, 1] * (math.log(4 / 3) - math.log(3 / 4)))
    x, y = (area * ratio).sqrt().clamp_max(1), (area / ratio).sqrt().clamp_max(1)
    spread = torch.where(u[:, 5:6] < 0.8, 2 * u[:, 6:10] - 1, 0)
    colour = {"brightness": 1 + 0.4 * spread[:, 0], "contrast": 1 + 0.4 * spread[:, 1]}
    if channels == 3:
        colour |= {"saturation": 1 + 0.4 * spread[:, 2], "hue": 0.1 * spread[:, 3], "gray": u[:, 10] < 0.2}
    middle = {"center_x": (2 * u[:, 2] - 1) * (1 - x), "center_y": (2 * u[:, 3] - 1) * (1 - y)}
    return _still(count, **{"scale_x": x, "scale_y": y, **middle, **colour})


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("crop_scale", [(0.08, 1.0), (0.5, 0.6)])
def test_positive_views_are_simclrs(channels: int, crop_scale: tuple[float, float]) -> None:
    images = _random(50, channels, 12, 12)
    draw = _positive_draw(50, 3, crop_scale, channels)
    single = Draw(**{name: v.float() if v.is_floating_point() else v for name, v in _parts(draw).items()})
    expected = recolor(resample(images, single), single)
    found = crop_and_recolor(images, _seeded(3), crop_scale)
    torch.testing.assert_close(found, expected, rtol=0, atol=2e-5)


def test_positive_views_may_be_the_identity_and_keep_to_the_kind() -> None:
    # A crop of a flat gray image changes nothing, and a fifth of all samples keeps its colours.
    flat = torch.full((1000, 1, 4, 4), 0.3)
    kept = ((crop_and_recolor(flat, _seeded()) - flat).abs() < 1e-5).all((1, 2, 3))
    assert kept.float().mean().item() == pytest.approx(0.2, abs=0.04)
    # Colours of a flow mean nothing: it is cropped alone.
    flows = torch.full((20, 2, 8, 8), 0.3)
    torch.testing.assert_close(crop_and_recolor(flows, _seeded(), kind="flow"), flows)
    ramps = torch.arange(8.0).expand(20, 2, 8, 8).contiguous()
    assert not torch.allclose(crop_and_recolor(ramps, _seeded(), kind="flow"), ramps)


@pytest.mark.parametrize("channels", [1, 3])
def test_quarter_turns_are_numpys(channels: int) -> None:
    images = _random(5, channels, 6, 6)
    expected = np.concatenate([np.rot90(images.numpy(), turn, (2, 3)) for turn in range(4)])
    np.testing.assert_array_equal(quarter_turns(images).numpy(), expected)


def test_quarter_turns_need_squares() -> None:
    with pytest.raises(InputError, match=r"got 6 x 7\. Resize"):
        quarter_turns(_random(2, 3, 6, 7))


@pytest.mark.parametrize(("rows", "columns"), [(0, 0), (3, 0), (0, -2), (-4, 5), (2, -5)])
def test_translate_is_numpys_reflection(rows: int, columns: int) -> None:
    samples = np.random.default_rng(0).normal(size=(2, 3, 7, 8)).astype(np.float32)
    wide = np.pad(samples, ((0, 0), (0, 0), (6, 6), (6, 6)), mode="reflect")
    expected = wide[..., 6 - rows : 13 - rows, 6 - columns : 14 - columns]
    np.testing.assert_array_equal(translate(torch.from_numpy(samples), rows, columns).numpy(), expected)


def test_translate_by_a_whole_side_is_refused() -> None:
    with pytest.raises(InputError, match=r"7 x 8 can be moved by less than that; got 7 and 0"):
        translate(torch.zeros(1, 1, 7, 8), 7, 0)
