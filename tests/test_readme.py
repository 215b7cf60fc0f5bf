"""The README does what it says: its lines and commands run, its make targets exist, its tables are current."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from novanda.cli import main
from novanda.exported import ExportedDetector

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text()


def _blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


def _commands(block: str) -> list[list[str]]:
    return [shlex.split(line, comments=True) for line in block.splitlines() if line.strip()]


def _write_photos(folder: Path, count: int, seed: int, brightness: int = 0) -> None:
    folder.mkdir()
    generator = np.random.default_rng(seed)
    for number in range(count):
        ramp = np.linspace(0, 150, 32)[:, None, None] + generator.integers(0, 60, (32, 32, 3)) + brightness
        Image.fromarray(ramp.astype(np.uint8)).save(folder / f"{number:03d}.png")


def test_python_lines_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (code,) = _blocks("python")
    exec(compile(code, "README.md", "exec"), {})
    assert (tmp_path / "parts.novanda").is_file()


def test_commands_on_a_folder_of_photos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    _write_photos(tmp_path / "photos", 500, seed=0)
    _write_photos(tmp_path / "new_photos", 12, seed=1)
    _write_photos(tmp_path / "good", 12, seed=2)
    _write_photos(tmp_path / "bad", 12, seed=3, brightness=40)
    commands = [words for block in _blocks("sh") for words in _commands(block) if words[0] == "novanda"]
    assert [words[1] for words in commands] == ["inspect", "fit", "score", "evaluate", "explain", "calibrate", "export"]
    for words in commands:
        # The one thing changed: an epoch of a narrow network in place of a hundred of the paper's.
        few = ["--training.epochs", "1", "--novanda.width", "4"] if words[1] == "fit" else []
        assert main([*words[1:], *few]) == 0, words
    lines = (tmp_path / "scores.csv").read_text().splitlines()
    assert lines[0] == "path,novelty,p_value,is_novel,error"
    assert len(lines) == 13


def test_make_targets_exist() -> None:
    makefile = (ROOT / "Makefile").read_text()
    named = {words[1] for block in _blocks("sh") for words in _commands(block) if words[0] == "make"}
    named |= set(re.findall(r"`make ([\w-]+)`", README))
    assert {"demo", "test"} <= named
    for target in named:
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target


def test_linked_files_exist() -> None:
    for page in (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))):
        for link in re.findall(r"\]\((?!https?://)([^)#]+)\)", page.read_text()):
            assert (page.parent / link).exists(), f"{page.name} links to {link}"


def test_tables_are_what_the_result_lines_say() -> None:
    check = subprocess.run(
        [sys.executable, ROOT / "benchmarks/readme.py", "--check"], capture_output=True, text=True, check=False
    )
    assert check.returncode == 0, check.stdout + check.stderr


def test_the_page_on_deployment_does_what_it_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its commands and its Python lines, in their order, on a small detector; pip is left to a slow test."""
    monkeypatch.chdir(tmp_path)
    page = (ROOT / "docs/deployment.md").read_text()
    _write_photos(tmp_path / "photos", 260, seed=0)
    _write_photos(tmp_path / "new_photos", 12, seed=1)
    _write_photos(tmp_path / "good", 30, seed=2)
    _write_photos(tmp_path / "bad", 12, seed=3, brightness=40)
    Image.open(tmp_path / "bad" / "000.png").resize((50, 41)).save(tmp_path / "photo.png")
    small = ["--method", "pca", "--pca.components", "8"]
    assert main(["fit", "photos", "--out", "parts.novanda", *small, "--false-alarm-rate", "0.04"]) == 0
    ran = []
    for language, block in re.findall(r"```(sh|python)\n(.*?)```", page, re.DOTALL):
        if language == "python":
            names: dict[str, object] = {}
            exec(compile(block, "deployment.md", "exec"), names)
            ran.append(names)
        else:
            assert all(main(words[1:]) == 0 for words in _commands(block) if words[0] == "novanda"), block
    assert len(ran) == 3
    assert ran[-1]["is_novel"], "a brighter photo at a rate of 0.1"
    moved = ran[1]["detector"]
    assert isinstance(moved, ExportedDetector)
    assert len(moved.calibration()) == 30
    p_value = moved.p_value("photo.png")
    assert ran[-1]["p_value"] == pytest.approx(p_value[0], abs=1.5 / 31)
