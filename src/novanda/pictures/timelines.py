"""Recordings over time: their waveform or thumbnails, the novelty of each segment, the threshold, what is flagged."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from novanda.errors import InputError
from novanda.pictures.drawing import BLACK, BLUE, GRAY, LEFT, RIGHT, VERMILLION, WIDTH, new_figure, panel, plain, short

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Inches: above a recording, its waveform, a gap, its novelty, the axis.
_HEAD, _WAVE, _GAP, _CURVE, _BELOW = 0.5, 0.7, 0.12, 1.35, 0.5
_WAVE_FLOOR, _WAVE_TOP = 0.08, 1.0  # of the panel, where thumbnails lie


_MUCH = 10  # novelty whose greatest is this many times its least is drawn on a logarithmic axis


@dataclass(frozen=True, eq=False)
class TimelineBand:
    """One recording, as `timeline_sheet` draws it. Letters: S segments, E places of the envelope.

    Attributes:
        title: what is written above it, such as the path and the verdict on the whole.
        seconds: how long it lasts.
        envelope: (E, 2) least and greatest sample in each of E equal stretches of it; None where nothing is drawn.
        start, end: (S,) seconds.
        novelty: (S,) higher = more novel.
        threshold: above it a segment is flagged; None: nothing is.
        is_novel: whether the whole is flagged; None where that is not decided.
        unread: (start, end) of stretches that could not be read.
        thumbnails: of a clip, pictures (h, w, 3) uint8 at equal distances, drawn in place of the envelope; none
            where nothing of it can be read. None: it is no clip.
    """

    title: str
    seconds: float
    envelope: np.ndarray | None
    start: np.ndarray
    end: np.ndarray
    novelty: np.ndarray
    threshold: float | None
    is_novel: bool | None = None
    unread: tuple[tuple[float, float], ...] = ()
    thumbnails: tuple[np.ndarray, ...] | None = None


def timeline_sheet(bands: Sequence[TimelineBand]) -> Figure:
    """One band a recording: its waveform or thumbnails above the novelty of its segments, flagged spans marked in both.

    A segment is a level line from its start to its end, and where segments overlap, so do the lines. The scale of
    novelty is the same in all bands, so that recordings can be compared; that of sound is each one's own.

    Raises:
        InputError: no recording, or one with arrays that do not belong together.
    """
    if not bands:
        raise InputError("expected at least one recording to draw; got none")
    for band in bands:
        if not band.start.shape == band.end.shape == band.novelty.shape or band.novelty.ndim != 1:
            raise InputError(f"expected start, end and novelty (S,) of one length; got {band.novelty.shape}")
    each = _HEAD + _WAVE + _GAP + _CURVE + _BELOW
    figure = new_figure(each * len(bands) + 0.15)
    limits, logarithmic = _limits(bands)
    for number, band in enumerate(bands):
        top = 0.1 + number * each
        _draw_title(figure, band, top)
        width = WIDTH - LEFT - RIGHT
        wave = panel(figure, LEFT, top + _HEAD, width, _WAVE)
        curve = panel(figure, LEFT, top + _HEAD + _WAVE + _GAP, width, _CURVE)
        for axes in (wave, curve):
            axes.set_xlim(0, max(band.seconds, 1e-9))
            axes.spines[["top", "right"]].set_visible(False)
            axes.tick_params(labelsize=8)
            for start, end in _flagged(band):
                axes.axvspan(start, end, color=VERMILLION, alpha=0.18, linewidth=0)
            for start, end in band.unread:
                axes.axvspan(start, end, facecolor="none", edgecolor=GRAY, hatch="////", linewidth=0)
        if band.thumbnails is not None:
            _draw_thumbnails(wave, band, band.thumbnails)
        else:
            _draw_wave(wave, band)
        if logarithmic:
            _make_logarithmic(curve)
        _draw_novelty(curve, band, limits)
    return figure


def _draw_title(figure: Figure, band: TimelineBand, top: float) -> None:
    y = 1 - (top + 0.3) / figure.get_figheight()
    figure.text(
        LEFT / WIDTH, y, plain(band.title), fontsize=10, va="center",
        weight="bold" if band.is_novel else "normal", color=VERMILLION if band.is_novel else BLACK,
    )  # fmt: skip
    if band.threshold is not None:
        words = f"- - -  segments above {short(band.threshold)} are flagged"
        figure.text(1 - RIGHT / WIDTH, y, words, fontsize=8, va="center", ha="right", color=GRAY)


def _draw_wave(axes: Any, band: TimelineBand) -> None:
    axes.tick_params(labelbottom=False, bottom=False)
    axes.set_ylabel("sound", fontsize=9)
    if band.envelope is None or not len(band.envelope):
        axes.set_yticks([])
        return
    loudest = max(float(np.abs(band.envelope).max()), 1e-4)
    axes.set_ylim(-1.1 * loudest, 1.1 * loudest)
    axes.set_yticks([-loudest, 0, loudest], labels=[short(-loudest), "0", short(loudest)])
    edges = np.linspace(0, band.seconds, len(band.envelope) + 1)
    low, high = np.repeat(band.envelope, 2, axis=0).T
    axes.fill_between(np.repeat(edges, 2)[1:-1], low, high, color=GRAY, linewidth=0.4)


def _draw_thumbnails(axes: Any, band: TimelineBand, pictures: Sequence[np.ndarray]) -> None:
    """Each over its own share of the clip, as large as fits there; a flagged span is a line below them."""
    axes.tick_params(labelbottom=False, bottom=False)
    axes.set_ylabel("video", fontsize=9)
    axes.set_yticks([])
    box = axes.get_window_extent()
    share = band.seconds / max(len(pictures), 1)
    tall = _WAVE_TOP - _WAVE_FLOOR
    for number, picture in enumerate(pictures):
        height, width = picture.shape[:2]
        # How many seconds a picture of the panel's height is wide, and how much it must shrink to keep to its share.
        wide = width / height * tall * box.height / box.width * band.seconds
        shrunk = min(1.0, 0.96 * share / wide)
        middle, half = (number + 0.5) * share, 0.5 * shrunk * wide
        top = _WAVE_FLOOR + 0.5 * tall * (1 + shrunk)
        axes.imshow(picture, extent=(middle - half, middle + half, top - shrunk * tall, top), aspect="auto", zorder=2)
    for start, end in _flagged(band):
        axes.plot([start, end], [0.03, 0.03], color=VERMILLION, linewidth=3, solid_capstyle="butt", zorder=3)
    axes.set_xlim(0, max(band.seconds, 1e-9))
    axes.set_ylim(0, 1)


def _draw_novelty(axes: Any, band: TimelineBand, limits: tuple[float, float]) -> None:
    flagged = np.zeros(len(band.novelty), dtype=bool) if band.threshold is None else band.novelty > band.threshold
    for chosen, colour, width in ((~flagged, BLUE, 1.6), (flagged, VERMILLION, 3.0)):
        axes.hlines(band.novelty[chosen], band.start[chosen], band.end[chosen], color=colour, linewidth=width)
    if band.threshold is not None:
        axes.axhline(band.threshold, color=BLACK, linestyle="--", linewidth=1.2)
    axes.set_ylim(*limits)
    axes.set_ylabel("novelty", fontsize=9)
    axes.set_xlabel("seconds", fontsize=9, labelpad=1)


def _make_logarithmic(axes: Any) -> None:
    from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

    axes.set_yscale("log")
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 3)))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: short(value)))


def _flagged(band: TimelineBand) -> list[tuple[float, float]]:
    """Stretches covered by flagged segments, joined where these overlap or touch."""
    if band.threshold is None:
        return []
    joined: list[tuple[float, float]] = []
    chosen = band.novelty > band.threshold
    for start, end in sorted(zip(band.start[chosen].tolist(), band.end[chosen].tolist(), strict=True)):
        if joined and start <= joined[-1][1]:
            joined[-1] = joined[-1][0], max(end, joined[-1][1])
        else:
            joined.append((start, end))
    return joined


def _limits(bands: Sequence[TimelineBand]) -> tuple[tuple[float, float], bool]:
    """The range of novelty shown, and whether on a logarithmic scale, without which normals would lie on the floor."""
    thresholds = [band.threshold for band in bands if band.threshold is not None]
    values = np.concatenate([*(band.novelty for band in bands), thresholds])
    if not len(values):
        return (0.0, 1.0), False
    low, high = float(values.min()), float(values.max())
    if low > 0 and high > _MUCH * low:
        room = (high / low) ** 0.1
        return (low / room, high * room), True
    room = 0.12 * (high - low) or 0.1 * max(abs(low), 1e-6)
    return (low - room, high + room), False
