"""Turns and moves told by three heads, against NumPy's own turns and moves and plain loops."""

from __future__ import annotations

import dataclasses
import itertools

import numpy as np
import pytest
import torch
from scipy import special
from torch import Tensor, nn

from novanda.augment import shift_and_mirror
from novanda.detector import Detector
from novanda.errors import InputError
from novanda.method import Batch
from novanda.methods import RotationTranslation
from novanda.methods.rot_trans import MOVES, right_answers
from novanda.samples import SampleSpec
from novanda.training import Training

TRAINING = Training(epochs=1, batch_size=32, device="cpu", precision="32")
SMALL = RotationTranslation(width=4)


def images(seed: int, count: int = 40) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, 32, 32, 3), dtype=np.uint8)


def view(image: np.ndarray, rows: int, columns: int, turns: int, step: int = 8) -> np.ndarray:
    """One sample (C, H, H), moved with reflection, then turned; -1 moves up or to the left."""
    side = image.shape[1]
    wide = np.pad(image, ((0, 0), (step, step), (step, step)), mode="reflect")
    top, left = step - rows * step, step - columns * step
    turned: np.ndarray = np.rot90(wide[:, top : top + side, left : left + side], turns, (1, 2))
    return turned


def every_view() -> list[tuple[int, int, int, tuple[int, int, int]]]:
    """Rows, columns, turns and the right answers, written out."""
    where = {0: 0, -1: 1, 1: 2}
    return [
        (rows, columns, turns, (turns, where[rows], where[columns]))
        for rows, columns, turns in itertools.product((-1, 0, 1), (-1, 0, 1), range(4))
    ]


def test_views_and_their_labels_are_numpys() -> None:
    samples = torch.rand(2, 3, 32, 32)
    found = set()
    for move in range(9):
        views, labels = SMALL.moved_and_turned(samples, move), right_answers(move, 2)
        assert views.shape == (8, 3, 32, 32)
        for place, (one, label) in enumerate(zip(views.numpy(), labels.tolist(), strict=True)):
            rows, columns, turns, right = next(each for each in every_view() if list(each[3]) == label)
            np.testing.assert_array_equal(one, view(samples[place % 2].numpy(), rows, columns, turns))
            found.add(right)
    assert len(found) == 36


def test_a_move_stays_shorter_than_the_side() -> None:
    """0.99 of 32 pixels rounds to 32, more than reflection can fill."""
    image = images(0, 1).transpose(0, 3, 1, 2).astype(np.float32)
    found = dataclasses.replace(SMALL, translation=0.99).moved_and_turned(torch.from_numpy(image), MOVES.index((1, 0)))
    np.testing.assert_array_equal(found[0].numpy(), view(image[0], 1, 0, 0, step=31))


def test_the_first_move_in_the_first_turn_changes_nothing() -> None:
    samples = torch.rand(2, 3, 32, 32)
    assert torch.equal(SMALL.moved_and_turned(samples, 0)[:2], samples)


def test_objective_by_loop() -> None:
    torch.manual_seed(0)
    model = SMALL.build(SampleSpec("image", 3, 32, 32), 20).eval()
    batch = torch.rand(20, 3, 32, 32) * 2 - 1
    (stage,) = SMALL.stages(model, 1)
    (player,) = stage.players
    step = Batch(batch, torch.arange(20), torch.Generator().manual_seed(4), "image", 0.0)
    with torch.no_grad():
        terms = player.loss(step)
    # The same random numbers in the same order: mild shifts, then which move each part of the batch gets.
    generator = torch.Generator().manual_seed(4)
    mild = shift_and_mirror(batch, generator, SMALL.padding)
    moves = torch.randperm(9, generator=generator).tolist()
    expected = {"rotation": 0.0, "vertical": 0.0, "horizontal": 0.0}
    for move, part in zip(moves, np.array_split(mild.numpy(), 9), strict=True):
        for image, turns in itertools.product(part, range(4)):
            seen = torch.from_numpy(view(image, MOVES[move][0], MOVES[move][1], turns).copy())
            with torch.no_grad():
                outputs = model(seen[None])[0].double().numpy()
            right = {"rotation": turns, "vertical": move // 3, "horizontal": move % 3}
            for name, part_of in (("rotation", outputs[:4]), ("vertical", outputs[4:7]), ("horizontal", outputs[7:])):
                expected[name] -= float(np.log(special.softmax(part_of)[right[name]])) / 80
    assert {name: term.item() for name, term in terms.items()} == pytest.approx(expected, rel=1e-5)


def test_every_move_is_shown_and_changes_hands_from_step_to_step(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[int, int]] = []
    real = RotationTranslation.moved_and_turned

    def watched(self: RotationTranslation, part: Tensor, move: int) -> Tensor:
        seen.append((move, len(part)))
        return real(self, part, move)

    monkeypatch.setattr(RotationTranslation, "moved_and_turned", watched)
    model = SMALL.build(SampleSpec("image", 3, 32, 32), 20)
    (stage,) = SMALL.stages(model, 1)
    generator = torch.Generator().manual_seed(0)
    for _ in range(2):
        stage.players[0].loss(Batch(torch.zeros(20, 3, 32, 32), torch.arange(20), generator, "image", 0.0))
    first, second = seen[:9], seen[9:]
    assert sorted(move for move, _ in first) == sorted(move for move, _ in second) == list(range(9))
    assert first != second
    assert all(count in (2, 3) for _, count in seen)


def test_scores_by_loop() -> None:
    detector = Detector(SMALL, TRAINING, calibration_fraction=0).fit(images(0))
    fresh = images(1, 3)
    found = detector.novelty_scores(fresh)
    assert list(found) == ["log_probability", "logit"]
    for number, image in enumerate(fresh.transpose(0, 3, 1, 2) / 127.5 - 1):
        logit, log_probability = 0.0, 0.0
        for rows, columns, turns, right in every_view():
            seen = torch.from_numpy(view(image, rows, columns, turns).copy()).float()[None]
            with torch.inference_mode():
                outputs = detector.model_(seen)[0].double().numpy()
            for answers, place in zip((outputs[:4], outputs[4:7], outputs[7:]), right, strict=True):
                logit -= answers[place]
                log_probability -= np.log(special.softmax(answers)[place])
        assert found["logit"][number] == pytest.approx(logit, rel=1e-4, abs=1e-4)
        assert found["log_probability"][number] == pytest.approx(log_probability, rel=1e-4)


def test_it_learns_turns_and_moves() -> None:
    """A bright square at one place before a slope: its turn and its place are easy to tell; gray is novel."""
    slope = np.linspace(160, 30, 32)[:, None, None]

    def scenes(seed: int, count: int) -> np.ndarray:
        made = np.tile(slope, (count, 1, 32, 3)) * np.random.default_rng(seed).uniform(0.7, 1, (count, 1, 1, 3))
        made[:, 12:20, 10:16] = 250
        result: np.ndarray = made.astype(np.uint8)
        return result

    training = dataclasses.replace(TRAINING, epochs=12, learning_rate=1e-2)
    method = RotationTranslation(width=8, padding=1)
    detector = Detector(method, training, calibration_fraction=0).fit(scenes(0, 72))
    last = detector.history_[-1].terms
    assert last["rotation"] < 0.7 * np.log(4)
    assert last["vertical"] + last["horizontal"] < 0.8 * 2 * np.log(3)
    normal = detector.novelty_score(scenes(1, 6))
    assert normal.max() < detector.novelty_score(np.full((6, 32, 32, 3), 128, np.uint8)).min()


@pytest.mark.parametrize(("field", "value"), [("width", 0), ("translation", 0.0), ("translation", 1.0)])
def test_bad_settings_are_refused_by_name(field: str, value: float) -> None:
    with pytest.raises(InputError, match=f"RotationTranslation.{field} must be .*; got {value}"):
        RotationTranslation(**{field: value})  # type: ignore[arg-type]  # what the test is about


def test_remarks_count_the_views_that_were_not_recognised() -> None:
    class SaysUnchanged(nn.Module):
        def forward(self, views: Tensor) -> Tensor:
            return torch.eye(10)[[0, 4, 7]].sum(0).expand(len(views), -1)

    found = RotationTranslation().remarks(SaysUnchanged(), {}, torch.zeros(2, 3, 32, 32))
    assert found == [("The net did not recognise 35 of 36 ways in which it was moved and turned.",)] * 2
