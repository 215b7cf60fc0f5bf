"""Sheets of explanations: what is on them, that nothing lies on anything else, and odd names."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from novanda.errors import InputError
from novanda.explanations import Explanation, Neighbour
from novanda.pictures import explanation_sheet, png, save
from novanda.pictures.explaining import HOTTEST

RANDOM = np.random.default_rng(0)


def made(**changed: Any) -> Explanation:
    shape = changed.pop("shape", (32, 32, 3))
    picture = RANDOM.integers(0, 256, shape, dtype=np.uint8)
    near = tuple(Neighbour(picture, f"photos/{'long/' * 20}{number}.png", 12.345) for number in range(3))
    values: dict[str, Any] = {
        "name": "new/part.png",
        "image": picture,
        "expected": 255 - picture,
        "heat": RANDOM.random(shape[:2]).astype(np.float32),
        "heat_kind": "error",
        "novelty": 0.123456,
        "p_value": 0.01234,
        "is_novel": True,
        "neighbours": near,
        "remarks": ("The net did not recognise it upright: it took that for turned by 180 degrees.",),
    }
    return Explanation(**{**values, **changed})


def words(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.texts]


def tiles(figure: Figure) -> list[Any]:
    return [axes for axes in figure.axes if axes.images]


def test_what_is_on_a_sheet() -> None:
    explanation = made()
    figure = explanation_sheet([explanation])
    found = words(figure)
    assert "new/part.png" in found
    assert "novelty 0.123, p-value 0.0123: flagged as novel" in found
    assert explanation.remarks[0] in found
    assert {"input", "expected", "error", "nearest training image"} <= set(found)
    shown = [np.asarray(axes.images[0].get_array()) for axes in tiles(figure)]
    near = [neighbour.image for neighbour in explanation.neighbours]
    for drawn, wanted in zip(shown, [explanation.image, explanation.expected, explanation.heat, *near], strict=True):
        np.testing.assert_array_equal(drawn, wanted)
    heat = tiles(figure)[2].images[0]
    assert heat.get_clim() == (0, HOTTEST), "one scale for all sheets"
    assert [axes.spines["left"].get_linewidth() for axes in tiles(figure)] == [3, 0.5, 0.5, 0.5, 0.5, 0.5]


def test_heat_of_normals_stays_dark() -> None:
    axes = tiles(explanation_sheet([made()]))[2]
    red, green, blue, _ = axes.images[0].to_rgba(np.array([[1.0]]))[0, 0]
    assert 0.2126 * red + 0.7152 * green + 0.0722 * blue < 0.25


def test_motion_is_drawn_by_colours_of_its_direction() -> None:
    flow = np.full((4, 5, 2), 127.5)
    flow[0, :, 0], flow[1, :, 0], flow[2, :, 1] = 255, 0, 160
    shown = np.asarray(tiles(explanation_sheet([made(image=flow.astype(np.uint8))]))[0].images[0].get_array())
    assert shown.shape == (4, 5, 3)
    np.testing.assert_allclose(shown[0, 0], [1, 0, 0], atol=0.03)  # right
    np.testing.assert_allclose(shown[1, 0], [0, 1, 1], atol=0.03)  # left
    assert shown[2, 0, 1] == 1
    assert shown[2, 0, 2] < 0.6  # down: yellow-green, half as deep
    np.testing.assert_allclose(shown[3, 0], 1, atol=0.02)  # rest


def test_words_without_a_decision_and_for_normals() -> None:
    assert "novelty 0.123; the detector has no threshold, so nothing is decided" in words(
        explanation_sheet([made(p_value=None, is_novel=None)])
    )
    assert "novelty 0.123, p-value 0.0123: normal" in words(explanation_sheet([made(is_novel=False)]))


@pytest.mark.parametrize("shape", [(32, 32, 3), (32, 32, 1), (16, 64, 2), (1, 200, 1), (200, 1, 1)])
@pytest.mark.parametrize("neighbours", [0, 1, 8])
def test_nothing_lies_on_anything_else(shape: tuple[int, int, int], neighbours: int) -> None:
    one = made(shape=shape)
    near = (one.neighbours * 3)[:neighbours]
    remarks = tuple(f"{'A long remark about it, ' * 12}number {n}." for n in range(3))
    several = [
        made(shape=shape, neighbours=near, remarks=remarks, name="a/very/long/path/" * 20 + "x.png"),
        made(shape=shape, neighbours=near, expected=None, heat_kind="occlusion"),
        made(shape=shape, neighbours=(), remarks=()),
    ]
    figure = explanation_sheet(several)
    renderer = figure.canvas.get_renderer()  # type: ignore[attr-defined]  # Agg's canvas has one
    boxes = [text.get_window_extent(renderer) for text in figure.texts if text.get_text()]
    boxes += [box for axes in figure.axes if (box := axes.get_tightbbox(renderer)) is not None]
    assert len(boxes) > len(figure.axes)
    for place, box in enumerate(boxes):
        assert box.x0 >= 0
        assert box.y0 >= 0
        assert box.x1 <= figure.bbox.width
        assert box.y1 <= figure.bbox.height
        for other in boxes[place + 1 :]:
            across = min(box.x1, other.x1) - max(box.x0, other.x0)
            along = min(box.y1, other.y1) - max(box.y0, other.y0)
            assert across <= 1 or along <= 1


def test_odd_names_are_drawn_as_far_as_they_can_be(tmp_path: Path) -> None:
    # A warning would be an error here: of letters the font does not have, of mathematics that is none.
    figure = explanation_sheet([made(name="$part_1^$/\udce9\u90e8\U00020000.png")])
    assert "$part_1^$/???.png" in words(figure)
    save(figure, tmp_path / "why.png")
    with Image.open(tmp_path / "why.png") as written:
        assert written.size[0] == 1200
    assert (tmp_path / "why.png").read_bytes() == png(figure)


def test_nothing_to_draw_is_refused() -> None:
    with pytest.raises(InputError, match="at least one explanation"):
        explanation_sheet([])
