"""inspect_videos: containers, sizes, lengths, still clips, gaps, what is broken, copies and leaks of made clips."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from clips import moving, retime, write
from novanda.errors import DataError
from novanda.inspection import Spread, inspect_videos


def test_what_is_there(tmp_path: Path) -> None:
    write(tmp_path / "a.mp4", moving(0, frames=11))
    write(tmp_path / "b.avi", moving(1, frames=21), rate=10)
    write(tmp_path / "c", moving(2, frames=51, height=48))
    found = inspect_videos(tmp_path, progress=True)
    assert (found.files, found.readable) == (3, 3)
    assert found.containers == {"AVI": 1, "MP4": 1, "frames": 1}
    assert found.sizes == {"96 x 72": 2, "96 x 48": 1}
    assert found.seconds == Spread(0.4, 2.0, 2.0)
    assert found.rates == Spread(10.0, 25.0, 25.0)
    assert found.minutes == pytest.approx(4.4 / 60)
    assert [found.still, found.gaps, found.broken, found.duplicates] == [{}, {}, {}, ()]
    said = " ".join(found.warnings)
    assert "3 readable clips are few; a false-alarm rate of 0.05 takes 95, of which 19 are held out" in said
    assert "sizes differ" in said
    assert "lengths differ" in said
    json.dumps(found.to_json(), allow_nan=False)


def test_still_clips_and_gaps_are_measured(tmp_path: Path) -> None:
    frames = moving(0, frames=8)
    half = np.concatenate([np.repeat(frames[:1], 7, 0), frames[:4]])
    write(tmp_path / "half.avi", half)
    retime(write(tmp_path / "gap.mkv", frames), [0, 30, 80, 150, 200, 205, 240, 900])
    found = inspect_videos(tmp_path)
    assert found.still == {str(tmp_path / "half.avi"): pytest.approx(0.7)}
    assert found.gaps == {str(tmp_path / "gap.mkv"): pytest.approx(0.66)}
    said = "\n".join(found.lines())
    assert "half.avi: 70% of the frames" in said
    assert "gap.mkv: 0.66 s without a frame" in said
    assert "1 clips stand still" in said
    assert "1 clips have gaps" in said


def test_broken_clips_copies_and_leaks(tmp_path: Path) -> None:
    first = write(tmp_path / "train" / "a.mp4", moving(0, frames=5))
    shutil.copy(first, tmp_path / "train" / "b.mov")
    (tmp_path / "train" / "c.mp4").write_text("words")
    write(tmp_path / "train" / "d", moving(1, frames=5))
    shutil.copytree(tmp_path / "train" / "d", tmp_path / "test" / "e")
    (tmp_path / "test" / "f.avi").write_bytes(b"")
    found = inspect_videos(tmp_path / "train", tmp_path / "test")
    assert found.duplicates == ((str(first), str(tmp_path / "train" / "b.mov")),)
    assert found.broken.keys() == {str(tmp_path / "train" / "c.mp4")}
    assert found.leaks == ((str(tmp_path / "test" / "e"), str(tmp_path / "train" / "d")),)
    assert found.against_broken == {str(tmp_path / "test" / "f.avi"): "expected a video; the file is empty"}
    said = "\n".join(found.lines())
    for words in ("same file:", "leaks:", "1 clips repeat another one", "1 broken clips would be skipped"):
        assert words in said
    (tmp_path / "none").mkdir()
    with pytest.raises(DataError, match="expected videos"):
        inspect_videos(tmp_path / "none")
