"""ESC-10's layout, made up: what is read of it, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from novanda import datasets
from novanda.datasets import SOUND_SETS, SoundSet
from novanda.datasets.esc10 import EVENTS, FOLDS, SCENES, read_clips
from novanda.errors import DataError


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A clip of each category in each fold, whose sound nobody reads here."""
    audio = tmp_path / "ESC-10" / "audio"
    audio.mkdir(parents=True)
    lines = ["clip,fold,target,category"]
    for number, category in enumerate((*SCENES.values(), *EVENTS.values())):
        for fold in FOLDS:
            lines.append(f"{number:03d}_{fold}-A,{fold},{number},{category}")
            (audio / f"{number:03d}_{fold}-A.ogg").write_bytes(f"{number} {fold}".encode())
    (tmp_path / "ESC-10" / "meta.csv").write_text("\n".join(lines) + "\n")
    return tmp_path


def test_clips_are_chosen_by_category_and_fold(root: Path) -> None:
    clips = read_clips(root)
    assert len(clips.all) == 50
    found = clips.chosen("Sea waves", 1, 2)
    assert [clip.name for clip in found] == ["001_1-A.ogg", "001_2-A.ogg"]
    assert all(clip.path.read_bytes().startswith(b"1 ") for clip in found)
    assert clips.chosen("Cow", 1) == []


def test_the_layout_as_published_gives_the_same_clips(root: Path, tmp_path: Path) -> None:
    flat = read_clips(root)
    for clip in flat.all:
        number, _, name = clip.name.partition("_")
        place = tmp_path / "published" / "ESC-10" / f"{number} - {clip.category}" / name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(clip.path.read_bytes())
    (tmp_path / "published" / "ESC-10" / "README.md").write_text("ESC-10")
    published = read_clips(tmp_path / "published")
    assert [(c.name, c.category, c.fold) for c in published.all] == [(c.name, c.category, c.fold) for c in flat.all]
    assert published.checksum == flat.checksum


def test_the_checksum_is_of_contents_and_of_what_is_said_of_them(root: Path) -> None:
    before = read_clips(root).checksum
    assert read_clips(root).checksum == before
    path = root / "ESC-10" / "audio" / "003_2-A.ogg"
    path.write_bytes(b"other")
    assert read_clips(root).checksum != before
    path.write_bytes(b"3 2")
    assert read_clips(root).checksum == before
    table = root / "ESC-10" / "meta.csv"
    table.write_text(table.read_text().replace("003_2-A,2", "003_2-A,1").replace("003_1-A,1", "003_1-A,2"))
    assert read_clips(root).checksum != before


def test_what_is_missing_is_named_with_where_to_get_it(root: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"nothing/ESC-10: expected .*Dog bark.*audio.*; there is neither; get the set"):
        read_clips(tmp_path / "nothing")
    (root / "ESC-10" / "audio" / "004_3-A.ogg").unlink()
    with pytest.raises(DataError, match=r"expected .*004_3-A.ogg, which is not there; get the set from http"):
        read_clips(root)
    table = root / "ESC-10" / "meta.csv"
    lines = table.read_text().splitlines()
    table.write_text("\n".join(line for line in lines if not line.startswith("004_3")))
    with pytest.raises(DataError, match="clips of Chainsaw in fold 3, which is not there"):
        read_clips(root)
    table.write_text("clip,fold\n1,one\n")
    with pytest.raises(DataError, match="expected the columns clip, fold and category"):
        read_clips(root)


@pytest.mark.parametrize("data_set", SOUND_SETS, ids=lambda data_set: data_set.name)
def test_every_scene_has_one_place(data_set: SoundSet) -> None:
    assert datasets.named(data_set.name) is data_set
    for place, name in enumerate(data_set.classes):
        assert data_set.label(name) == data_set.label(name.upper()) == place
    for alias, name in data_set.aliases.items():
        assert data_set.label(alias) == data_set.classes.index(name)
    with pytest.raises(DataError, match="expected one of its classes"):
        data_set.label("moon")


def test_names_of_image_sets_and_of_none() -> None:
    found = datasets.named("mnist")
    assert found is datasets.get("mnist")
    assert datasets.named("MNIST ") is None
