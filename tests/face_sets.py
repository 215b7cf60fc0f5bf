"""Replay-Attack and CASIA-MFSD made up: tiny clips in the official layouts, live ones move, attacks do otherwise."""

from __future__ import annotations

from pathlib import Path

from clips import How, moving, write


def _clip(path: Path, seed: int, how: How) -> None:
    write(path, moving(seed, how, frames=12, height=48, width=48))


def write_replay_attack(root: Path) -> Path:
    """In each split five live clips and five attacks, which move against the flow or are shaken."""
    for place, split in enumerate(("train", "devel", "test")):
        for number in range(5):
            name, seed = f"client{5 * place + number:03d}_session01", 1000 * place + number
            _clip(root / split / "real" / f"{name}_webcam_authenticate_adverse_1.mov", seed, "normal")
            attacks = root / split / "attack" / ("fixed", "hand")[number % 2]
            moves: tuple[How, How] = ("against", "replay")
            _clip(attacks / f"attack_print_{name}_highdef_photo_adverse.mov", seed + 500, moves[number % 2])
    return root


def write_casia_mfsd(root: Path, subjects: int = 3) -> Path:
    """So many subjects in train and two in test, of each two live clips and two attacks; one attack moves normally."""
    for folder, count in (("train_release", subjects), ("test_release", 2)):
        for subject in range(1, count + 1):
            names: dict[str, How] = {"1": "normal", "HR_1": "normal", "3": "replay", "7": "normal"}
            for place, (name, how) in enumerate(names.items()):
                seed = 5000 + 1000 * (folder == "test_release") + 10 * subject + place
                _clip(root / folder / str(subject) / f"{name}.avi", seed, how)
    return root
