"""Mixtures against a loop over samples and against their own recipes; seeds; the layout; what is refused."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import soxr
import yaml

from novanda.cli import main
from novanda.datasets.dcase2017 import read_mixtures
from novanda.errors import DataError, InputError
from novanda.mixing import GAIN, Mixing, mix, mixture, sounding


def looped_mixture(background: list[float], event: list[float], at: int, ebr: float) -> list[float]:
    """The published recipe, sample by sample."""
    square = sum(value * value for value in event) / len(event)
    under = sum(background[at + n] ** 2 for n in range(len(event))) / len(event)
    factor = 10 ** (ebr / 20) * math.sqrt(under) / math.sqrt(square)
    mixed = []
    for n, value in enumerate(background):
        inside = at <= n < at + len(event)
        mixed.append(0.2 * (value + factor * event[n - at] if inside else value))
    return mixed


@pytest.mark.parametrize(("at", "ebr"), [(0, -6.0), (37, 0.0), (700, 6.0)])
def test_a_mixture_is_that_of_a_loop(at: int, ebr: float) -> None:
    generator = np.random.default_rng(at)
    background, event = generator.normal(0, 0.2, 1000), generator.normal(0, 0.01, 300)
    mixed, factor = mixture(background, event, at, ebr)
    np.testing.assert_allclose(mixed, looped_mixture(background.tolist(), event.tolist(), at, ebr), atol=1e-14)
    added = mixed / GAIN - background
    loudness = np.sqrt(np.mean((factor * event) ** 2)) / np.sqrt(np.mean(background[at : at + 300] ** 2))
    assert 20 * np.log10(loudness) == pytest.approx(ebr)
    np.testing.assert_allclose(added[at : at + 300], factor * event, atol=1e-12)


@pytest.mark.parametrize(("at", "silent"), [(-1, None), (701, None), (0, "event"), (0, "background")])
def test_what_has_no_ratio_or_place_is_refused(at: int, silent: str | None) -> None:
    background, event = np.ones(1000) * (silent != "background"), np.ones(300) * (silent != "event")
    with pytest.raises(InputError):
        mixture(background, event, at, 0.0)


def test_the_silence_around_an_event_is_left_out() -> None:
    sound = np.zeros(8_000, np.float32)
    sound[2_000:2_400] = 0.5
    sound[3_000:3_080] = 0.01  # 34 dB below: still of the event
    sound[5_000:5_080] = 0.001
    assert sounding(sound, 8_000) == (2_000, 3_120)
    assert sounding(np.zeros(803), 8_000) == (0, 803)


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Backgrounds in two folders, one too short and one broken; events of two classes, at another rate."""
    root = tmp_path_factory.mktemp("own")
    generator = np.random.default_rng(0)
    for scene, number, seconds in (("rain", 0, 2.5), ("rain", 1, 2.0), ("sea", 0, 2.2), ("sea", 1, 1.0)):
        path = root / "normal" / scene / f"{number}.wav"
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, generator.normal(0, 0.1, round(8_000 * seconds)), 8_000, subtype="FLOAT")
    (root / "normal" / "sea" / "broken.wav").write_text("broken")
    for name, number in (("bark", 0), ("bark", 1), ("crow", 0)):
        path = root / "events" / name / f"{number}.flac"
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, np.pad(generator.normal(0, 0.2, 4_000), (1_600, 800)), 16_000)
    return root


SMALL = Mixing(count=12, seconds=2.0, rate=8_000, ebr=(-6.0, 6.0))


def test_files_are_what_their_recipes_say(own: Path, tmp_path: Path) -> None:
    made = mix(own / "normal", own / "events", tmp_path / "rare", SMALL)
    assert (made.count, len(list(made.folder.glob("audio/*.wav")))) == (24, 24)
    assert {Path(path).name: reason for path, reason in made.left_out.items()} == {
        "broken.wav": "expected WAV, FLAC, Ogg or MP3; by its first bytes it is none of them; convert it",
        "1.wav": "1 s; a mixture lasts 2 s",
    }
    present = 0
    for target in ("bark", "crow"):
        recipes = yaml.safe_load((made.folder / "meta" / f"mixture_recipes_evaltest_{target}.yaml").read_text())
        lines = (made.folder / "meta" / f"event_list_evaltest_{target}.csv").read_text().splitlines()
        assert lines == [recipe["annotation_string"] for recipe in recipes]
        for number, recipe in enumerate(recipes):
            assert recipe["mixture_audio_filename"].startswith(f"mixture_evaltest_{target}_{number:03d}_")
            file = soundfile.SoundFile(made.folder / "audio" / recipe["mixture_audio_filename"])
            with file:
                assert (file.samplerate, file.channels, file.subtype, file.frames) == (8_000, 1, "PCM_24", 16_000)
                found = file.read()
            whole, _ = soundfile.read(own / "normal" / recipe["bg_path"])
            begin = round(recipe["bg_start_seconds"] * 8_000)
            wanted = whole[begin : begin + 16_000].tolist()
            if recipe["event_present"]:
                present += 1
                sound, rate = soundfile.read(own / "events" / recipe["event_path"], dtype="float32")
                first, last = (round(recipe[f"segment_{end}_seconds"] * rate) for end in ("start", "end"))
                event = soxr.resample(sound[first:last], rate, 8_000)
                at = round(recipe["event_start_in_mixture_seconds"] * 8_000)
                assert recipe["ebr"] in (-6, 6)
                assert (first, last) == (1_600, 5_600)
                found_all = looped_mixture(wanted, event.tolist(), at, recipe["ebr"])
            else:
                found_all = [0.2 * value for value in wanted]
            np.testing.assert_allclose(found, found_all, atol=2e-7)  # a step of 24 bits is 1.2e-7
    assert present == made.with_event
    assert 6 <= present <= 18


def test_the_reader_of_the_official_layout_reads_it(own: Path, tmp_path: Path) -> None:
    made = mix(own / "normal", own / "events", tmp_path / "rare", SMALL)
    mixtures = read_mixtures(tmp_path / "rare", "evaltest")
    assert len(mixtures) == 24
    assert sum(bool(mixture.events) for mixture in mixtures) == made.with_event
    assert {mixture.scene for mixture in mixtures} == {"rain", "sea"}
    assert {mixture.target for mixture in mixtures} == {"bark", "crow"}
    for each in mixtures:
        assert (each.ebr is None) == (not each.events)
        for event in each.events:
            assert event.label == each.target
            assert event.offset - event.onset == pytest.approx(0.25)


def test_the_same_seed_gives_the_same_files_and_another_gives_others(own: Path, tmp_path: Path) -> None:
    def content(name: str, **changes: Any) -> dict[str, bytes]:
        settings = {"count": 4, "seconds": 2.0, "rate": 8_000, **changes}
        made = mix(own / "normal", own / "events", tmp_path / name, Mixing(**settings))
        return {path.name: path.read_bytes() for path in sorted(made.folder.rglob("*.*"))}

    first = content("a")
    assert content("b") == first
    assert content("c", seed=1) != first
    more = content("d", count=6)
    assert {name: raw for name, raw in first.items() if name.endswith(".wav")}.items() <= more.items()


def test_all_or_no_mixtures_can_hold_an_event(own: Path, tmp_path: Path) -> None:
    for presence, wanted in ((0.0, 0), (1.0, 8)):
        mixing = Mixing(count=4, seconds=2.0, rate=8_000, presence=presence)
        made = mix(own / "normal", own / "events", tmp_path / f"{presence}", mixing)
        assert made.with_event == wanted


def test_another_gain_and_what_it_cuts_off(own: Path, tmp_path: Path) -> None:
    plain = {"count": 4, "seconds": 2.0, "rate": 8_000, "presence": 1.0, "ebr": (24.0,)}
    quiet, loud = (
        mix(own / "normal", own / "events", tmp_path / f"{gain}", Mixing(**plain, gain=gain))  # type: ignore[arg-type]  # of many types
        for gain in (0.02, 1.0)
    )
    assert (quiet.clipped, loud.clipped) == (0, 8)
    first, second = (soundfile.read(sorted((made.folder / "audio").iterdir())[0])[0] for made in (quiet, loud))
    np.testing.assert_allclose(np.clip(first * 50, -1, 1), second, atol=1e-5)


@pytest.mark.parametrize(
    "wrong",
    [
        {"ebr": ()},
        {"ebr": (math.nan,)},
        {"count": 0},
        {"presence": 1.1},
        {"gain": 0},
        {"seconds": 0},
        {"rate": 1},
        {"seed": -1},
    ],
)
def test_settings_out_of_range_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(InputError):
        Mixing(**wrong)


def test_folders_that_can_not_serve_are_refused(own: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"at least 30 s; the longest has 2.5 s; give --seconds"):
        mix(own / "normal", own / "events", tmp_path / "a")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "x").touch()
    with pytest.raises(InputError, match="there and not empty"):
        mix(own / "normal", own / "events", tmp_path / "full", SMALL)
    with pytest.raises(DataError, match="expected a folder of sounds"):
        mix(own / "absent", own / "events", tmp_path / "a", SMALL)
    (tmp_path / "silent").mkdir()
    soundfile.write(tmp_path / "silent" / "a.wav", np.zeros(20_000), 8_000)
    with pytest.raises(DataError, match="are silent: nothing to mix"):
        mix(tmp_path / "silent", own / "events", tmp_path / "b", Mixing(count=9, seconds=2.0, rate=8_000))


def test_the_command(own: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    words = ["mix", "--backgrounds", own / "normal", "--events", own / "events", "--out", tmp_path / "rare",
             "--ebr", "-6,0,6", "--count", 3, "--seconds", 2, "--rate", 8000]  # fmt: skip
    assert main(list(map(str, words))) == 0
    said = capfd.readouterr().err
    assert "left out" in said
    assert "6 mixtures, " in said
    assert len(read_mixtures(tmp_path, "evaltest")) == 6
    assert main([*map(str, words[:7]), "--ebr", "loud"]) == 2
    assert "--ebr are numbers" in capfd.readouterr().err
