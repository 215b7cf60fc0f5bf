"""The layouts of Replay-Attack and CASIA-MFSD, with empty files: who is live, who is shown, what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from novanda.datasets.face_clips import read_casia_mfsd, read_replay_attack
from novanda.errors import DataError


def touch(*paths: Path) -> None:
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def replay_attack(root: Path) -> None:
    for number, split in enumerate(("train", "devel", "test")):
        client = f"client{number + 1:03d}_session01"
        touch(
            root / split / "real" / f"{client}_webcam_authenticate_adverse_1.mov",
            root / split / "attack" / "fixed" / f"attack_highdef_{client}_highdef_photo_adverse.mov",
            root / split / "attack" / "hand" / f"attack_print_{client}_highdef_photo_controlled.mov",
        )
    touch(root / "enroll" / "client001_session02_webcam_authenticate_adverse_1.mov")


def test_replay_attack(tmp_path: Path) -> None:
    replay_attack(tmp_path)
    clips = read_replay_attack(tmp_path)
    assert [(clip.split, clip.subject, clip.attack, clip.live) for clip in clips] == [
        (split, subject, attack, attack is None)
        for split, subject in (("train", "001"), ("devel", "002"), ("test", "003"))
        for attack in (None, "highdef fixed", "print hand")
    ]
    touch(tmp_path / "test" / "real" / "attack_mobile_client009_session01_mobile_photo_adverse.mov")
    with pytest.raises(DataError, match="expected a name such as Replay-Attack's"):
        read_replay_attack(tmp_path)


def test_casia_mfsd(tmp_path: Path) -> None:
    names = ["1", "2", "HR_1", "3", "4", "HR_2", "5", "6", "HR_3", "7", "8", "HR_4"]
    for folder, subject in (("train_release", "1"), ("train_release", "20"), ("test_release", "1")):
        touch(*(tmp_path / folder / subject / f"{name}.avi" for name in names))
    clips = read_casia_mfsd(tmp_path)
    assert len(clips) == 36
    assert {(clip.split, clip.subject) for clip in clips} == {("train", "1"), ("train", "20"), ("test", "1")}
    kinds = {clip.path.stem: clip.attack for clip in clips}
    assert [kinds[name] for name in names] == [None] * 3 + ["warped photo"] * 3 + ["cut photo"] * 3 + ["video"] * 3
    touch(tmp_path / "test_release" / "1" / "9.avi")
    with pytest.raises(DataError, match="twelve names"):
        read_casia_mfsd(tmp_path)


def test_a_missing_part_is_named(tmp_path: Path) -> None:
    replay_attack(tmp_path)
    for file in (tmp_path / "devel" / "attack").rglob("*.mov"):
        file.unlink()
    with pytest.raises(DataError, match=r"devel.attack: expected clips \(\*\.mov\)"):
        read_replay_attack(tmp_path)
    with pytest.raises(DataError, match=r"train_release: expected clips"):
        read_casia_mfsd(tmp_path)
