"""Pictures: what is drawn for which arrays, degenerate input, and the files that are written."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.colors import to_hex
from PIL import Image

from novanda.errors import InputError
from novanda.pictures import example_sheet, loss_curves, save, score_histogram, score_sheet, sheets
from novanda.pictures.drawing import VERMILLION
from novanda.training import Epoch

RANDOM = np.random.default_rng(0)


def gray(count: int, side: int = 8) -> np.ndarray:
    return RANDOM.integers(0, 256, (count, side, side, 1), dtype=np.uint8)


def sheet(images: np.ndarray, **changed: Any) -> Any:
    count = len(images)
    given: dict[str, Any] = {
        "reconstructions": images.astype(np.float32) + 8,
        "novelty": np.arange(count, dtype=float),
        "p_values": np.linspace(1, 0.01, count),
        "novel": np.arange(count) >= count // 2,
        "threshold": count / 2 - 0.5,
        "scale": 16.0,
    }
    return score_sheet(images, **(given | changed))


def tiles(figure: Any) -> list[Any]:
    return [axes for axes in figure.axes if axes.images]


def words(figure: Any) -> list[str]:
    return [text.get_text() for text in figure.texts]


def written(figure: Any, folder: Path) -> Image.Image:
    save(figure, folder / "out.png")
    with Image.open(folder / "out.png") as image:
        image.load()
    assert image.format == "PNG"
    width, height = figure.get_size_inches()
    assert image.size == (1200, round(height * 100)) == (round(width * 100), round(height * 100))
    return image


def test_both_ends_are_shown_by_score_with_expectation_and_error(tmp_path: Path) -> None:
    images = gray(40)
    order = RANDOM.permutation(40)
    scores = np.empty(40)
    scores[order] = np.arange(40)
    figure = sheet(images, novelty=scores, novel=None, threshold=36.5)
    drawn = tiles(figure)
    assert len(drawn) == 12 * 3
    shown = [*order[:6], *order[-6:]]
    for place, row in enumerate(shown):
        for tile, expected in zip(
            drawn[3 * place : 3 * place + 3],
            (images[row] / 255, (images[row] + 8.0).clip(0, 255) / 255, np.full((8, 8, 1), 8 / 16)),
            strict=True,
        ):
            np.testing.assert_allclose(tile.images[0].get_array(), expected[:, :, 0], atol=1e-6)
            assert tile.images[0].get_clim() == (0, 1), "a scale of its own would hide how large an error is"
    titles = [text for text in words(figure) if text.endswith("flagged") and text[0].isdigit()]
    assert [title.splitlines()[0] for title in titles] == ["3 of 40 samples flagged", "37", "38", "39"]
    frames = [to_hex(tile.spines["left"].get_edgecolor()) == VERMILLION.lower() for tile in drawn[::3]]
    assert frames == [False] * 9 + [True] * 3
    written(figure, tmp_path)


def test_a_sample_on_the_threshold_is_not_flagged() -> None:
    found = words(sheet(gray(3), novel=None, p_values=None, threshold=1.0))
    assert "1 of 3 samples flagged" in found
    assert {"0", "1", "2\nflagged"} <= set(found)


def test_titles_give_score_and_p_value() -> None:
    found = words(sheet(gray(2), novelty=np.array([0.001234, 5.0]), p_values=np.array([0.5, 0.04]), threshold=1.0))
    assert "0.00123\np 0.5" in found
    assert "5\np 0.04\nflagged" in found


def test_the_headline_counts_each_side() -> None:
    assert "flagged: 1 of 21 normal and 19 of 19 novel samples" in words(
        sheet(gray(40), novel=np.arange(40) >= 21, threshold=19.5)
    )


@pytest.mark.parametrize(("channels", "last"), [(1, True), (1, False), (2, False), (3, True), (3, False)])
def test_gray_colour_and_other_channels_in_both_layouts(channels: int, last: bool, tmp_path: Path) -> None:
    images = RANDOM.integers(0, 256, (5, 10, 12, channels), dtype=np.uint8)
    given = images if last else images.transpose(0, 3, 1, 2)
    figure = sheet(given, reconstructions=images.transpose(0, 3, 1, 2).astype(np.float32))
    first = np.asarray(tiles(figure)[0].images[0].get_array())
    expected = images[0] / 255 if channels == 3 else images[0].mean(2) / 255
    np.testing.assert_allclose(first, expected, atol=1e-6)
    assert not np.asarray(tiles(figure)[2].images[0].get_array()).any(), "the same image in the other layout"
    written(figure, tmp_path)


@pytest.mark.parametrize("count", [1, 2, 12, 13])
def test_any_number_of_samples(count: int, tmp_path: Path) -> None:
    figure = sheet(gray(count), reconstructions=None, p_values=None, novel=None, threshold=None)
    assert len(tiles(figure)) == min(count, 12)
    assert not any("flagged" in text and "nothing" not in text for text in words(figure))
    written(figure, tmp_path)


@pytest.mark.parametrize("scores", [[3.0] * 5, [0.0] * 5, [-1.0, -2.0, 0.0, 1e-9, 5.0], [1e-9, 1.0, 10.0, 1e3, 1e6]])
@pytest.mark.parametrize("threshold", [None, 3.0, 1e4])
def test_the_histogram_holds_every_sample(scores: list[float], threshold: float | None, tmp_path: Path) -> None:
    novel = np.array([False, False, True, True, True])
    figure = score_histogram(np.array(scores), novel, threshold)
    axes: Any = figure.axes[0]
    for patch in axes.patches:  # stepfilled: one polygon a side, whose heights add up to all of it
        x, y = patch.get_path().vertices.T
        assert np.isfinite([x, y]).all()
        np.testing.assert_allclose(y[1 : 2 * sheets._BINS : 2].sum(), 100)
    labels = [text.get_text() for text in axes.get_legend().get_texts()]
    assert labels[:2] == ["normal (2)", "novel (3)"]
    assert (len(labels) == 3) == (threshold is not None)
    if threshold is not None:
        assert list(axes.lines[0].get_xdata()) == [threshold] * 2
        low, high = axes.get_xlim()
        assert low <= threshold <= high
    written(figure, tmp_path)


def test_no_text_lies_on_another() -> None:
    figure = sheet(gray(40), novelty=np.linspace(-1.23e-5, 1.23e-4, 40), threshold=-1e-5)
    renderer = figure.canvas.get_renderer()
    boxes = [text.get_window_extent(renderer) for text in figure.texts]
    boxes += [axes.get_window_extent(renderer) for axes in tiles(figure)]
    plot = next(axes for axes in figure.axes if not axes.images)
    boxes += [plot.get_window_extent(renderer), plot.get_legend().get_window_extent(renderer)]
    for place, box in enumerate(boxes):
        assert box.x0 >= 0
        assert box.y0 >= 0
        assert box.x1 <= 1200
        assert box.y1 <= figure.bbox.height
        for other in boxes[place + 1 :]:
            across = min(box.x1, other.x1) - max(box.x0, other.x0)
            along = min(box.y1, other.y1) - max(box.y0, other.y0)
            assert across <= 0.5 or along <= 0.5


def test_arrays_given_are_left_as_they_are() -> None:
    images = gray(20)
    arrays: dict[str, np.ndarray] = {
        "reconstructions": images.astype(np.float32) * 2 - 100,
        "novelty": RANDOM.random(20),
        "p_values": RANDOM.random(20),
        "novel": RANDOM.random(20) > 0.5,
    }
    before = images.copy(), {name: array.copy() for name, array in arrays.items()}
    sheet(images, **arrays)
    np.testing.assert_array_equal(images, before[0])
    for name, array in arrays.items():
        np.testing.assert_array_equal(array, before[1][name])


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"novelty": np.zeros(3), "novel": None}, "4 images and 3 scores"),
        ({"novelty": np.array([0, 1, np.nan, 2])}, "finite scores"),
        ({"novelty": np.zeros(0)}, "at least one"),
        ({"p_values": np.zeros(3)}, "4 p-values"),
        ({"novel": np.zeros(4)}, "of bool"),
        ({"novel": np.zeros(3, dtype=bool)}, "of bool"),
        ({"scale": 0.0}, "scale"),
        ({"scale": np.inf}, "scale"),
        ({"reconstructions": np.zeros((4, 8, 9, 1))}, "like the images"),
        ({"reconstructions": np.zeros((4, 64))}, "reconstructions"),
    ],
)
def test_what_does_not_belong_together_is_refused(changed: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        sheet(gray(4), **changed)


def epochs(count: int, **terms: float) -> list[Epoch]:
    return [Epoch(n, count, "main", {name: v / n for name, v in terms.items()}, 1.0) for n in range(1, count + 1)]


def test_loss_curves_have_a_panel_a_term_and_a_line_a_history(tmp_path: Path) -> None:
    figure = loss_curves({"seed 0": epochs(40, image=2.0, latent=-1.0), "seed 1": epochs(5, image=3.0), "none": []})
    panels: dict[str, Any] = {axes.get_title(): axes for axes in figure.axes}
    assert list(panels) == ["image", "latent"]
    assert [len(axes.lines) for axes in panels.values()] == [2, 1]
    x, y = panels["image"].lines[1].get_data()
    np.testing.assert_allclose(x, [1, 2, 3, 4, 5])
    np.testing.assert_allclose(y, [3, 1.5, 1, 0.75, 0.6])
    assert panels["image"].get_yscale() == "log"
    assert panels["latent"].get_yscale() == "linear", "a logarithm would drop what is negative"
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["seed 0", "seed 1"]
    styles = {line.get_linestyle() for line in panels["image"].lines}
    assert len(styles) == 2, "colour alone tells nobody who can not see it"
    written(figure, tmp_path)


def test_loss_curves_of_one_epoch_and_of_none(tmp_path: Path) -> None:
    written(loss_curves({"only": epochs(1, **{f"term {n}": 1.0 for n in range(7)})}), tmp_path)
    with pytest.raises(InputError, match="without gradients"):
        loss_curves({"pca": []})


def test_the_same_figure_gives_the_same_bytes(tmp_path: Path) -> None:
    images = gray(20)
    for name in ("a.png", "b.png"):
        save(sheet(images), tmp_path / name)
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    assert {path.name for path in tmp_path.iterdir()} == {"a.png", "b.png"}
    with pytest.raises(InputError, match=r"ends in \.png"):
        save(sheet(images), tmp_path / "c.txt")


def test_pyplot_is_never_used() -> None:
    files = Path(sheets.__file__).parent.glob("*.py")
    imports = [line for file in files for line in file.read_text().splitlines() if "import" in line]
    assert any("matplotlib" in line for line in imports)
    assert not any("pyplot" in line for line in imports)


# ---------------------------------------------------------------------------------------------------------------
# Samples chosen before


def example(half: int, **changed: Any) -> Any:
    images = gray(2 * half)
    given: dict[str, Any] = {
        "reconstructions": images.astype(np.float32) + 8,
        "novelty": np.concatenate([np.arange(half), 100 + np.arange(half)]).astype(float),
        "novel": np.arange(2 * half) % 3 == 0,
        "scale": 16.0,
        "everyone": (np.arange(50.0), np.arange(50) >= 20),
        "title": "NDA on frogs",
    }
    return example_sheet(images, **(given | changed))


@pytest.mark.parametrize(("half", "shown"), [(1, 1), (3, 3), (6, 6), (9, 6)])
def test_examples_are_both_ends_with_the_truth_in_words(half: int, shown: int, tmp_path: Path) -> None:
    figure = example(half)
    assert len(tiles(figure)) == 2 * shown * 3
    said = [text.split("\n") for text in words(figure) if "\n" in text and not text.startswith("error")]
    chosen = [*range(shown), *range(2 * half - shown, 2 * half)]
    scores = [row if row < half else 100 + row - half for row in chosen]
    assert said == [[str(s), "novel" if row % 3 == 0 else "normal"] for s, row in zip(scores, chosen, strict=True)]
    assert {"NDA on frogs", "most normal", "most novel"} <= set(words(figure))
    (plot,) = (axes for axes in figure.axes if not axes.images)
    assert [text.get_text() for text in plot.get_legend().get_texts()] == ["normal (20)", "novel (30)"]
    written(figure, tmp_path)


def test_examples_of_a_method_that_draws_nothing() -> None:
    assert len(tiles(example(6, reconstructions=None))) == 12


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"novelty": np.zeros(3), "novel": np.zeros(3, dtype=bool)}, "as many images from either end"),
        ({"scale": 0.0}, "scale"),
        ({"reconstructions": np.zeros((4, 8, 9, 1))}, "like the images"),
        ({"everyone": (np.zeros(3), np.zeros(2, dtype=bool))}, "of bool"),
    ],
)
def test_examples_that_do_not_belong_together_are_refused(changed: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        example(2, **changed)
