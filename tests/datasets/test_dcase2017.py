"""The reader of DCASE 2017 task 2's layout, on a made set of a few files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from novanda.datasets.dcase2017 import EVENTS, SCENES, Event, Mixture, read_mixtures
from novanda.errors import DataError, InputError

HASH = "20b255387a2d0cddc0a3dff5014875e7"


def write_split(root: Path, split: str, target: str, recipes: list[dict[str, Any]], lines: list[str]) -> Path:
    part = "development" if split.startswith("dev") else "evaluation"
    folder = root / f"TUT-rare-sound-events-2017-{part}" / "data" / "mixture_data" / split / HASH
    for below in ("audio", "meta"):
        (folder / below).mkdir(parents=True, exist_ok=True)
    for recipe in recipes:
        (folder / "audio" / recipe["mixture_audio_filename"]).touch()
    (folder / "meta" / f"mixture_recipes_{split}_{target}.yaml").write_text(yaml.safe_dump(recipes))
    (folder / "meta" / f"event_list_{split}_{target}.csv").write_text("".join(f"{line}\n" for line in lines))
    return folder


def recipe(name: str, scene: str, event: bool = False, **more: Any) -> dict[str, Any]:
    return {"mixture_audio_filename": name, "bg_classname": scene, "event_present": event, "ebr": 6, **more}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    babycry = [recipe("a.wav", "beach"), recipe("b.wav", "cafe/restaurant", True), recipe("c.wav", "beach", True)]
    lines = ["a.wav", "b.wav\t1.5\t2.75\tbabycry", "c.wav\t0\t1\tbabycry"]
    made = write_split(tmp_path, "devtrain", "babycry", babycry, lines)
    write_split(tmp_path, "devtrain", "gunshot", [recipe("d.wav", "beach")], ["d.wav"])
    write_split(tmp_path, "evaltest", "babycry", [recipe("e.wav", "tram")], ["e.wav\t\t\t"])
    return made


def test_recipes_and_event_lists_become_mixtures(folder: Path, tmp_path: Path) -> None:
    found = read_mixtures(tmp_path, "devtrain")
    assert [mixture.path for mixture in found] == [folder / "audio" / f"{letter}.wav" for letter in "abcd"]
    assert found[1] == Mixture(
        folder / "audio" / "b.wav", "cafe/restaurant", "babycry", (Event(1.5, 2.75, "babycry"),), 6.0
    )
    assert found[0].events == ()
    assert found[0].ebr is None
    assert [mixture.target for mixture in found] == ["babycry"] * 3 + ["gunshot"]
    assert [mixture.path.name for mixture in read_mixtures(tmp_path, "devtrain", scene="beach")] == [
        "a.wav", "c.wav", "d.wav",
    ]  # fmt: skip
    assert read_mixtures(folder.parents[2], "devtrain") == found
    assert [mixture.path.name for mixture in read_mixtures(tmp_path, "evaltest")] == ["e.wav"]


def test_faulty_files_are_left_out_by_list(folder: Path, tmp_path: Path) -> None:
    (folder / "audio" / "a.wav").unlink()
    (folder / "meta" / "faulty.txt").write_text("# known to be faulty\na.wav  # click at 3 s\n\n")
    assert [m.path.name for m in read_mixtures(tmp_path, "devtrain", excluded=["d.wav"])] == ["b.wav", "c.wav"]


@pytest.mark.parametrize(
    ("stretch", "wanted"),
    [((0, 1.5), False), ((0, 1.51), True), ((2, 2.1), True), ((2.75, 4), False), ((2.74, 4), True), ((0, 9), True)],
)
def test_a_stretch_is_novel_if_an_event_sounds_in_it(stretch: tuple[float, float], wanted: bool) -> None:
    assert Mixture(Path("a.wav"), "tram", "babycry", (Event(1.5, 2.75, "babycry"),), 0).overlaps(*stretch) is wanted


def test_what_is_not_as_the_set_has_it_is_refused(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="devtrain, devtest, evaltest"):
        read_mixtures(tmp_path, "train")  # type: ignore[arg-type]  # what a caller may give
    with pytest.raises(DataError, match="expected mixture_data/devtest somewhere below"):
        read_mixtures(tmp_path, "devtest")
    with pytest.raises(DataError, match="expected the scene 'moon' in devtrain; found beach, cafe/restaurant"):
        read_mixtures(tmp_path, "devtrain", scene="moon")
    (folder / "audio" / "a.wav").unlink()
    with pytest.raises(DataError, match=r"a\.wav: expected this mixture"):
        read_mixtures(tmp_path, "devtrain")
    recipes = folder / "meta" / "mixture_recipes_devtrain_babycry.yaml"
    for text, said in (
        ("- {", "can not be read"),
        ("a: 1", "got a dict"),
        ("- 1", "recipe 0"),
        ("- {ebr: 1}", "recipe 0"),
    ):
        recipes.write_text(text)
        with pytest.raises(DataError, match=said):
            read_mixtures(tmp_path, "devtrain")
    recipes.write_text("!!python/object/apply:os.system ['true']")
    with pytest.raises(DataError, match="can not be read"):
        read_mixtures(tmp_path, "devtrain")


def test_event_lists_must_be_whole(folder: Path, tmp_path: Path) -> None:
    events = folder / "meta" / "event_list_devtrain_babycry.csv"
    events.write_text("a.wav\nb.wav\t1\n")
    with pytest.raises(DataError, match="a line of 2 cells"):
        read_mixtures(tmp_path, "devtrain")
    events.write_text("a.wav\nb.wav\n")
    with pytest.raises(DataError, match=r"expected c\.wav in the event list"):
        read_mixtures(tmp_path, "devtrain")
    events.unlink()
    with pytest.raises(DataError, match="expected lines of file"):
        read_mixtures(tmp_path, "devtrain")


def test_fifteen_scenes_and_three_events() -> None:
    assert (len(set(SCENES)), len(EVENTS)) == (15, 3)
