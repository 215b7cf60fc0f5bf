"""Timelines: what is drawn where, read back from the figure."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from novanda.errors import InputError
from novanda.pictures import TimelineBand, png, timeline_sheet


def band(**changes: Any) -> TimelineBand:
    start = np.arange(5.0)
    given: dict[str, Any] = {
        "title": "a.wav: normal",
        "seconds": 6.0,
        "envelope": np.stack([-np.linspace(0.1, 0.4, 30), np.linspace(0.1, 0.5, 30)], 1),
        "start": start,
        "end": start + 2,
        "novelty": np.array([1.0, 2.0, 5.0, 6.0, 2.5]),
        "threshold": 3.0,
    }
    return TimelineBand(**{**given, **changes})


def spans(axes: Any) -> list[tuple[float, float]]:
    """The marked stretches of a panel."""
    return [(patch.get_x(), patch.get_x() + patch.get_width()) for patch in axes.patches]


def test_a_band_has_waveform_novelty_threshold_and_flagged_spans() -> None:
    figure = timeline_sheet([band()])
    wave, curve = figure.axes
    assert wave.get_xlim() == curve.get_xlim() == (0, 6)
    collections: list[Any] = list(curve.collections)
    lines = [segment for collection in collections for segment in collection.get_segments()]
    drawn = sorted((line[0][0], line[1][0], line[0][1]) for line in lines)
    assert drawn == [(0, 2, 1), (1, 3, 2), (2, 4, 5), (3, 5, 6), (4, 6, 2.5)]
    assert [np.asarray(line.get_ydata())[0] for line in curve.lines] == [3.0]
    assert spans(wave) == spans(curve) == [(2, 5)]
    assert "segments above 3 are flagged" in " ".join(text.get_text() for text in figure.texts)


def test_spans_that_do_not_touch_stay_apart() -> None:
    wave = timeline_sheet([band(novelty=np.array([9.0, 1, 1, 1, 9]))]).axes[0]
    assert spans(wave) == [(0, 2), (4, 6)]


def test_bands_share_the_scale_of_novelty_and_it_is_logarithmic_where_normals_would_lie_flat() -> None:
    quiet, loud = band(), band(novelty=np.array([1.0, 2.0, 5.0, 900.0, 3.0]), is_novel=True)
    figure = timeline_sheet([quiet, loud])
    curves = figure.axes[1::2]
    assert curves[0].get_ylim() == curves[1].get_ylim()
    assert {axes.get_yscale() for axes in curves} == {"log"}
    assert timeline_sheet([quiet]).axes[1].get_yscale() == "linear"
    assert png(figure)[:4] == b"\x89PNG"


def test_without_threshold_or_sound_and_with_a_part_unread() -> None:
    figure = timeline_sheet([band(threshold=None, envelope=None, unread=((4.5, 6.0),))])
    wave, curve = figure.axes
    assert not curve.lines
    assert not wave.collections
    assert spans(curve) == [(4.5, 6)]
    assert [patch.get_hatch() for patch in curve.patches] == ["////"]
    nothing = np.empty(0)
    png(timeline_sheet([band(start=nothing, end=nothing, novelty=nothing, threshold=None, seconds=0.0)]))


@pytest.mark.parametrize(("height", "width"), [(72, 96), (40, 160), (90, 30)])
def test_a_clip_is_shown_by_thumbnails_that_keep_their_shape_and_their_share(height: int, width: int) -> None:
    pictures = tuple(np.full((height, width, 3), 20 * number, np.uint8) for number in range(8))
    figure = timeline_sheet([band(thumbnails=pictures, envelope=None)])
    strip, curve = figure.axes
    assert strip.get_xlim() == curve.get_xlim() == (0, 6)
    assert len(strip.images) == 8
    box = strip.get_window_extent()
    for number, (shown, picture) in enumerate(zip(strip.images, pictures, strict=True)):
        left, right, low, high = shown.get_extent()
        assert 6 / 8 * number <= left < right <= 6 / 8 * (number + 1)
        assert (left + right) / 2 == pytest.approx(6 / 8 * (number + 0.5))
        assert 0 <= low < high <= 1
        across, along = (right - left) / 6 * box.width, (high - low) * box.height
        assert across / along == pytest.approx(width / height)
        np.testing.assert_array_equal(shown.get_array(), picture)
    assert [np.asarray(line.get_xdata()).tolist() for line in strip.lines] == [[2, 5]]
    assert spans(curve) == [(2, 5)]
    assert png(figure)[:4] == b"\x89PNG"


def test_a_clip_of_which_nothing_can_be_read_is_still_one() -> None:
    nothing = np.empty(0)
    given = {"start": nothing, "end": nothing, "novelty": nothing, "envelope": None, "seconds": 0.0}
    figure = timeline_sheet([band(**given, thumbnails=()), band(**given)])
    assert [axes.get_ylabel() for axes in figure.axes] == ["video", "novelty", "sound", "novelty"]
    assert png(figure)[:4] == b"\x89PNG"


def test_a_title_with_dollars_is_no_formula() -> None:
    png(timeline_sheet([band(title="$x_{.wav")]))


def test_what_does_not_belong_together_is_refused() -> None:
    with pytest.raises(InputError, match="at least one recording"):
        timeline_sheet([])
    with pytest.raises(InputError, match="of one length"):
        timeline_sheet([band(end=np.arange(4.0))])
