"""Clips as a source: containers, what is broken, variable rates, the cache, memory, decoded once."""

from __future__ import annotations

import os
import subprocess
import sys
import tracemalloc
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile

from clips import moving, retime, write
from novanda.errors import DataError, InputError
from novanda.recordings import VideoForm
from novanda.samples import RecordedSource
from novanda.sources import VideoFiles, clip_thumbnails, find_videos, open_source
from novanda.sources.clips import Clip
from novanda.sources.motion import Pairing
from novanda.sources.watching import FlowStore, Footage

FORM = VideoForm(side=16)


def flows(frames: np.ndarray, form: VideoForm = FORM, rate: float = 25) -> np.ndarray:
    """The flows of frames in memory."""
    pairing = Pairing(form)
    return np.stack([pair.flow for n, frame in enumerate(frames) for pair in pairing.feed(n / rate, frame)])


def positions(source: VideoFiles) -> range:
    return range(len(source))


@pytest.mark.parametrize("name", ["a.mp4", "a.mov", "a.avi", "a.mkv", "a.webm", "frames"])
def test_every_container_gives_the_flow_of_its_frames(tmp_path: Path, name: str) -> None:
    frames = moving(0)
    with Clip(write(tmp_path / name, frames), 25) as clip:
        decoded = np.stack([pixels for _, pixels in clip.frames()]).astype(int)
    assert np.abs(decoded - frames).mean() < 15 < np.abs(decoded - frames[..., ::-1]).mean()
    source = VideoFiles.open(tmp_path / name, FORM, purpose="fit", progress=True)
    wanted = flows(frames)
    assert isinstance(source, RecordedSource)
    assert source.spec.recording == FORM
    assert len(source) == len(wanted) == 5
    assert source.identifier(1) == f"{tmp_path / name} 0.20-0.32 s"
    found = source.read(positions(source))
    assert found.dtype == np.float32
    if name == "frames":
        np.testing.assert_allclose(found, wanted, atol=1e-5)
    else:  # all of these codecs lose something, which moves the edges of objects a little, in few pairs much
        alike = [np.corrcoef(ours.ravel(), theirs.ravel())[0, 1] for ours, theirs in zip(found, wanted, strict=True)]
        assert np.median(alike) > 0.99
        assert np.abs(found - wanted).mean() < 0.02
    assert "1 clips, 0.0167 minutes: flow between frames 0.1 s apart" in source.note


def test_folders_hold_clips_and_folders_of_frames(tmp_path: Path) -> None:
    write(tmp_path / "day" / "b.mp4", moving(0, frames=5))
    write(tmp_path / "day" / "a", moving(1, frames=12))
    (tmp_path / "day" / "poster").mkdir()
    write(tmp_path / "day" / "poster" / "c.avi", moving(2, frames=5))
    for number in range(3):  # beside a video, images are no frames
        (tmp_path / "day" / "poster" / f"{number}.png").write_bytes(b"")
    (tmp_path / "day" / ".hidden.mp4").write_bytes(b"")
    found = find_videos(tmp_path)
    assert [str(path.relative_to(tmp_path / "day")) for path in found.files] == ["b.mp4", "a", "poster/c.avi"]
    assert find_videos(tmp_path / "day" / "a").files == (tmp_path / "day" / "a",)
    with Clip(tmp_path / "day" / "a", 25) as clip:  # frame2 comes before frame10
        order = [pixels for _, pixels in clip.frames()]
    np.testing.assert_array_equal(order, moving(1, frames=12))


def broken(folder: Path) -> dict[str, str]:
    """Files that can not serve, by name, with what is said of each."""
    frames = moving(0)
    folder.mkdir()
    whole = {name: write(folder / f"whole{name}", frames).read_bytes() for name in (".mp4", ".avi")}
    for name in whole:
        (folder / f"whole{name}").unlink()
    (folder / "cut.mp4").write_bytes(whole[".mp4"][: len(whole[".mp4"]) // 2])
    (folder / "cut.avi").write_bytes(whole[".avi"][: len(whole[".avi"]) // 2])
    (folder / "empty.mp4").write_bytes(b"")
    (folder / "text.mov").write_text("no video at all, but some words")
    (folder / "playlist.mp4").write_text("ffconcat version 1.0\nfile 'cut.avi'\n")
    soundfile.write(folder / "sound.wav", np.zeros(800), 8_000)
    (folder / "sound.wav").rename(folder / "sound.avi")
    write(folder / "single.mp4", frames[:1])
    write(folder / "sparse.mp4", frames[:6], rate=2)
    write(folder / "frames", frames[:8])
    (folder / "frames" / "frame6.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    write(folder / "sizes", frames[:8])
    (folder / "other").mkdir()
    (write(folder / "other" / "one", moving(1, frames=1, height=60)) / "frame0.png").rename(folder / "sizes/frame7.png")
    return {
        "cut.mp4": "by its first bytes it is MP4, but it is truncated, damaged",
        "cut.avi": "truncated: it ends at 0.",
        "empty.mp4": "the file is empty",
        "text.mov": "by its first bytes it is none of them",
        "playlist.mp4": "by its first bytes it is none of them",
        "sound.avi": "by its first bytes it is none of them",
        "single.mp4": "expected frames 0.1 s apart; got a clip of 0 s",
        "sparse.mp4": "they lie more than three times as far",
        "frames": "frame6.png",
        "sizes": "expected frames of one size; got 96 x 72 and, at 0.28 s, 96 x 60",
    }


def test_what_is_broken_is_set_aside_whole_and_named(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    said = broken(tmp_path / "clips")
    capfd.readouterr()
    with pytest.raises(DataError, match=r"none of the 10 is one. The first"):
        VideoFiles.open(tmp_path / "clips", FORM, purpose="fit")
    good = write(tmp_path / "clips" / "z.mp4", moving(5))
    source = VideoFiles.open(tmp_path / "clips", FORM, purpose="fit")
    assert {path.name for path in source.broken} == said.keys()
    for path, reason in source.broken.items():
        assert said[path.name] in reason, path
    assert [file.path for file in source.files] == [good]
    alone = VideoFiles.open(good, FORM, purpose="fit")
    np.testing.assert_array_equal(source.read(positions(source)), alone.read(positions(alone)))
    with pytest.raises(DataError, match="strict: stopped at the first broken clip"):
        VideoFiles.open(tmp_path / "clips", FORM, purpose="fit", strict=True)
    assert capfd.readouterr().err == ""  # FFmpeg and OpenCV keep what they think to themselves


def test_in_scoring_a_broken_clip_costs_no_other_and_keeps_what_can_be_read(tmp_path: Path) -> None:
    said = broken(tmp_path / "clips")
    good = write(tmp_path / "good.mp4", moving(5))
    missing = tmp_path / "missing.mp4"
    source = VideoFiles.listed([tmp_path / "clips", missing, good], FORM)
    errors: dict[str, str] = {}
    readable: Counter[str] = Counter()
    for position, outcome in enumerate(source.read_each(positions(source))):
        name = Path(source.span(position).path).name
        if isinstance(outcome, DataError):
            errors[name] = str(outcome)
            assert source.identifier(position) == str(source.files[source.recordings[position]].path)
        else:
            readable[name] += 1
    for name, words in {**said, "missing.mp4": "No such file"}.items():
        assert words in errors.pop(name), name
    assert not errors
    assert readable.keys() == {"cut.avi", "frames", "sizes", "good.mp4"}
    with pytest.raises(DataError, match=r"cut\.avi: truncated"):
        source.read(positions(source))
    alone = VideoFiles.listed(good, FORM)
    np.testing.assert_array_equal(source.read(range(len(source) - 5, len(source))), alone.read(range(5)))


def test_a_file_of_variable_rate_is_paired_by_the_times_of_its_frames(tmp_path: Path) -> None:
    path = write(tmp_path / "a.mkv", moving(0, frames=8))
    retime(path, [0, 30, 80, 150, 200, 205, 240, 900])
    with Clip(path, 25) as clip:
        assert [round(1000 * seconds) for seconds, _ in clip.frames()] == [0, 30, 80, 150, 200, 205, 240, 900]
    source = VideoFiles.listed(path, VideoForm(side=16, hop_seconds=0.1))
    spans = [source.span(position) for position in positions(source)]
    # From 205 ms on no frame follows soon enough.
    np.testing.assert_allclose([(span.start, span.end) for span in spans], [(0, 0.15)])


def test_clips_that_teach_nothing_are_refused(tmp_path: Path) -> None:
    write(tmp_path / "still.avi", np.repeat(moving(0, frames=1), 20, 0))
    with pytest.raises(DataError, match=r"all 4 flows are the very same \(a still picture\)"):
        VideoFiles.open(tmp_path, FORM, purpose="fit")
    write(tmp_path / "short" / "a.avi", moving(0, frames=4))
    with pytest.raises(DataError, match="expected at least 2 pairs of frames to fit; got 1, of 1 clips"):
        VideoFiles.open(tmp_path / "short", FORM, purpose="fit")


def test_the_cache_is_used_and_never_trusted_blindly(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache = tmp_path / "cache"
    paths = [write(tmp_path / "a.mp4", moving(0)), write(tmp_path / "frames", moving(1))]
    wanted = VideoFiles.listed(paths, FORM, cache=cache).read(range(10))
    files = sorted(cache.iterdir())
    assert [file.suffix for file in files] == [".npy", ".npy"]
    decoded: list[Path] = []
    original = Clip.frames

    def noted(clip: Clip) -> Iterator[tuple[float, np.ndarray]]:
        decoded.append(clip.path)
        return original(clip)

    monkeypatch.setattr(Clip, "frames", noted)

    def again(form: VideoForm = FORM) -> np.ndarray:
        decoded.clear()
        source = VideoFiles.listed(paths, form, cache=cache)
        return source.read(positions(source))

    np.testing.assert_array_equal(again(), wanted)
    assert decoded == []
    paths[0] = paths[0].rename(tmp_path / "renamed.mp4")
    np.testing.assert_array_equal(again(), wanted)
    assert decoded == []
    again(VideoForm(side=16, interval=0.2))  # another form
    assert decoded == paths
    files[0].write_bytes(files[0].read_bytes()[:-100])  # a damaged file
    np.testing.assert_array_equal(again(), wanted)
    assert len(decoded) == 1
    write(tmp_path / "other", moving(2))
    (tmp_path / "other" / "frame3.png").replace(paths[1] / "frame3.png")  # another clip of the same name
    again()
    assert decoded == paths[1:]
    np.testing.assert_array_equal(VideoFiles.open(paths, FORM, purpose="fit", cache=cache).read(range(5)), wanted[:5])


def test_of_a_broken_clip_nothing_is_cached(tmp_path: Path) -> None:
    broken(tmp_path / "clips")
    VideoFiles.listed(tmp_path / "clips", FORM, cache=tmp_path / "cache")
    assert not (tmp_path / "cache").exists()


def peak_of_reading(path: Path, frames: int) -> int:
    """Bytes allocated at most while a clip of that many frames is opened and read in batches."""
    write(path, np.concatenate([moving(0, frames=50)] * (frames // 50)))
    tracemalloc.start()
    source = VideoFiles.listed(path, FORM)
    for start in range(0, len(source), 8):
        source.read(range(start, min(start + 8, len(source))))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak


def test_memory_does_not_grow_with_a_clip(tmp_path: Path) -> None:
    peak_of_reading(tmp_path / "first.avi", 50)
    assert peak_of_reading(tmp_path / "long.avi", 800) < 1.2 * peak_of_reading(tmp_path / "short.avi", 400)


def resident_mib() -> float:
    """Of this process, files that are mapped and in memory included."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="only Linux tells how much of a process is in memory")
@pytest.mark.parametrize("each", [False, True])
def test_what_was_read_does_not_stay_in_memory(each: bool) -> None:
    """As many flows as an hour of a larger form has: 144 MiB on disk."""
    form = VideoForm(side=64)
    with FlowStore(form) as store:
        rows = np.zeros(64, store.type)
        for batch in range(72):
            rows["flow"] = batch
            store.append(rows)
        source = VideoFiles([Footage(Path("clip.mp4"), 1.0, 72 * 64)], form, store.last())
    before = resident_mib()
    for batch in range(72):
        places = range(64 * batch, 64 * (batch + 1))
        found = source.read_each(places) if each else source.read(places)
        assert all((flow == batch).all() for flow in found)  # type: ignore[union-attr]  # no position is an error
    assert resident_mib() - before < 40
    assert (source.read([0]) == 0).all(), "it is read from disk again"


def test_each_frame_is_decoded_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "a.mp4", moving(0))
    read = Counter[float]()
    original = Clip.frames

    def counted(clip: Clip) -> Iterator[tuple[float, np.ndarray]]:
        for seconds, pixels in original(clip):
            read[seconds] += 1
            yield seconds, pixels

    monkeypatch.setattr(Clip, "frames", counted)
    source = VideoFiles.open(path, FORM, purpose="fit")
    for _ in range(3):
        source.read(positions(source))
    assert len(read) == 26
    assert set(read.values()) == {1}


def test_thumbnails_lie_at_equal_distances(tmp_path: Path) -> None:
    frames = np.stack([np.full((40, 60, 3), 5 * number, np.uint8) for number in range(50)])
    seconds, pictures = clip_thumbnails(write(tmp_path / "a", frames), 25, count=6, height=20)
    assert seconds == pytest.approx(49 / 25)
    assert {picture.shape for picture in pictures} == {(20, 30, 3)}
    shown = [float(picture.mean()) / 5 for picture in pictures]
    np.testing.assert_allclose(shown, np.linspace(0, 49, 6), atol=4)
    assert clip_thumbnails(tmp_path / "nothing.mp4", 25) == (0.0, [])


def test_wrong_askings_are_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "a.mp4", moving(0, frames=5))
    with pytest.raises(DataError, match="to fit on video give --kind video"):
        open_source(path, purpose="fit")
    with pytest.raises(DataError, match="or give --kind video for the 1 video there"):
        open_source(tmp_path, purpose="fit")
    with pytest.raises(InputError, match="makes a flow"):
        open_source(path, purpose="fit", kind="image", form=FORM)
    with pytest.raises(InputError, match=r"a flow's VideoForm\.side"):
        open_source(path, purpose="fit", size=32, form=FORM)


def test_pipes_are_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.mp4")
    (error,) = VideoFiles.listed(tmp_path / "pipe.mp4", FORM).read_each([0])
    assert "got a special file" in str(error)


def test_where_opencv_is_missing_it_is_said_how_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "a.mp4", moving(0, frames=5))
    monkeypatch.setitem(sys.modules, "cv2", None)
    with pytest.raises(InputError, match=r"pip install 'novanda\[video\]'"):
        VideoFiles.listed(path, FORM)


def test_video_is_read_without_torch(tmp_path: Path) -> None:
    path = write(tmp_path / "a.mp4", moving(0))
    code = (
        "import sys; from novanda.recordings import VideoForm; from novanda.sources import VideoFiles; "
        f"print(VideoFiles.listed({str(path)!r}, VideoForm()).read([0]).shape, 'torch' in sys.modules)"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.split("\n")[0] == "(1, 2, 32, 32) False"


def test_huge_frames_are_refused_by_the_header(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("novanda.sources.clips.MAX_PIXELS", 96 * 72 - 1)
    source = VideoFiles.listed(write(tmp_path / "a.mp4", moving(0, frames=5)), FORM)
    (error,) = source.read_each([0])
    assert "frames of 96 x 72 pixels are more than 6,911" in str(error)


def test_frames_whose_times_stand_still_are_taken_at_the_average_rate(tmp_path: Path) -> None:
    path = write(tmp_path / "a.mkv", moving(0, frames=8))
    retime(path, [0, 30, 80, 80, 160, 160, 240, 240])
    with Clip(path, 25) as clip:
        times = [seconds for seconds, _ in clip.frames()]
        step = 1 / clip.rate
    np.testing.assert_allclose(times, [0, 0.03, 0.08, 0.08 + step, 0.16, 0.16 + step, 0.24, 0.24 + step], atol=1e-3)
