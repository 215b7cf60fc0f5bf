"""Pages of docs/ whose lines and commands are run as they stand."""

from __future__ import annotations

import re
import shlex
import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile
from PIL import Image

from clips import How, moving, write
from face_sets import write_casia_mfsd, write_replay_attack
from novanda.cli import main

DOCS = Path(__file__).resolve().parent.parent / "docs"
PAGES = ("explanation.md", "calibration.md")


def blocks(page: str, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", (DOCS / page).read_text(), re.DOTALL)


def commands(page: str) -> list[list[str]]:
    lines = [line for block in blocks(page, "sh") for line in block.splitlines()]
    return [shlex.split(line, comments=True) for line in lines if line.strip()]


@pytest.mark.parametrize("page", [*PAGES, "scikit-learn.md"])
def test_python_lines_run(page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    found = blocks(page, "python")
    assert found
    for code in found:
        exec(compile(code, page, "exec"), {})


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folders of the names that the pages use, and a detector."""
    root = tmp_path_factory.mktemp("photos")
    generator = np.random.default_rng(0)
    for folder, count in (("photos", 120), *((name, 110) for name in ("more_normals", "new_camera", "line_2")),
                          ("new_photos", 12), ("today", 30), ("yesterday", 30)):  # fmt: skip
        (root / folder).mkdir()
        for number in range(count):
            ramp = np.linspace(0, 150, 16)[:, None, None] + generator.integers(0, 60, (16, 16, 3))
            Image.fromarray(ramp.astype(np.uint8)).save(root / folder / f"{number:03d}.png")
    words = ["fit", root / "photos", "--method", "pca", "--out", root / "parts.novanda", "--calibration-fraction", 0.5]
    assert main(list(map(str, words))) == 0
    return root


@pytest.mark.parametrize("page", PAGES)
def test_commands_run(page: str, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = shutil.copytree(photos, tmp_path / "here")
    monkeypatch.chdir(place)
    assert main(["score", "parts.novanda", "yesterday", "--out", "yesterday.csv"]) == 0
    # A person's work: one row that is flagged, and no other.
    Path("flagged.csv").write_text("path,novelty,p_value,is_novel,error\nx.png,1000.0,0.01,true,\n")
    given = [words for words in commands(page) if words[0] == "novanda"]
    assert given
    for words in given:
        assert main(words[1:]) == 0, words


def test_the_page_on_sound_does_what_it_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its commands and its Python lines, in their order, on recordings of 4 s made at 8 kHz."""
    monkeypatch.chdir(tmp_path)
    generator = np.random.default_rng(0)
    moments = np.arange(32_000) / 8_000
    for folder, count, knock in (("machine_ok", 95, 0.0), ("today", 4, 0.0), ("healthy", 10, 0.0), ("worn", 3, 0.5)):
        Path(folder).mkdir()
        for number in range(count):
            sound = 0.1 * np.sin(2 * np.pi * generator.uniform(118, 122) * moments) + generator.normal(0, 0.02, 32_000)
            sound += knock * (moments % 1 < 0.05) * generator.normal(size=32_000)
            soundfile.write(Path(folder) / f"{number:02d}.wav", sound, 8_000)
    Path("knocks").mkdir()
    soundfile.write("knocks/0.wav", generator.normal(0, 0.3, 4_000), 8_000)
    ran = []
    for language, block in re.findall(r"```(sh|python)\n(.*?)```", (DOCS / "sound.md").read_text(), re.DOTALL):
        if language == "python":
            exec(compile(block, "sound.md", "exec"), {})
            continue
        for line in block.splitlines():
            words = shlex.split(line, comments=True)
            assert main(words[1:]) == 0, line
            ran.append(words[1])
    assert ran == ["inspect", "fit", "score", "evaluate", "explain", "mix", "figure5"]
    assert Path("timeline.png").is_file()


def test_the_page_on_video_does_what_it_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its commands and its Python lines, in their order, on clips of half a second."""
    monkeypatch.chdir(tmp_path)
    parts: tuple[tuple[str, int, How], ...] = (
        ("corridor", 95, "normal"), ("today", 3, "normal"), ("quiet", 10, "normal"), ("alarms", 4, "against"),
    )  # fmt: skip
    for place, (folder, count, how) in enumerate(parts):
        for number in range(count):
            frames = moving(1000 * place + number, how, frames=14, height=48, width=64)
            write(Path(folder) / f"{number:02d}.mp4", frames)
    write_replay_attack(Path("data/replay-attack"))
    write_casia_mfsd(Path("data/casia-mfsd"), subjects=5)
    ran = []
    for language, block in re.findall(r"```(sh|python)\n(.*?)```", (DOCS / "video.md").read_text(), re.DOTALL):
        if language == "python":
            exec(compile(block, "video.md", "exec"), {})
            continue
        for line in block.splitlines():
            words = shlex.split(line, comments=True)
            assert main(words[1:]) == 0, line
            ran.append(words[1])
    assert ran == ["inspect", "fit", "score", "evaluate", "explain", "bench"]
    assert Path("timeline.png").is_file()
    assert Path("faces/table6.md").is_file()
    assert len(list(Path("flows").iterdir())) == 95
