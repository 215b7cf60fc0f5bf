"""novanda's own method: its scores by slow loops, what its held-out normals decide, other kinds."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score
from test_contract import made_normals, made_novel

from novanda import Detector
from novanda.augment import false_colors, negative_shifts, shift_and_mirror, shifted
from novanda.errors import InputError
from novanda.export import export
from novanda.exported import ExportedDetector
from novanda.method import Batch
from novanda.methods import Novanda, flagship
from novanda.neighbours import every_axis
from novanda.networks import ResidualNet
from novanda.recordings import AudioForm
from novanda.samples import Normals, SampleSpec
from novanda.shift_ensemble import ShiftEnsemble, reliability
from novanda.training import Training

TINY = Novanda(width=4, components=6, neighbours=2, bank=30, parts_bank=12)
TRAINING = Training(epochs=1, batch_size=64, device="cpu", precision="32", learning_rate=2e-3)


def fitted(method: Novanda = TINY, images: np.ndarray | None = None, **options: object) -> Detector:
    detector = Detector(method, TRAINING, calibration_fraction=0.0, keep_examples=0)
    return detector.fit(made_normals(0, 60) if images is None else images, **options)


def made_to_be(sided: bool, method: Novanda = TINY) -> Detector:
    """One to whose normals mirroring is a shift or is none, whatever they look like."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(flagship, "mirroring_shows", lambda *_: sided)
        found = fitted(method)
    assert ensemble(found).sided.item() == float(sided)
    return found


@pytest.fixture(scope="module", params=[False, True], ids=["either side", "one side"])
def detector(request: pytest.FixtureRequest) -> Detector:
    """One of either."""
    return made_to_be(request.param)


def ensemble(detector: Detector) -> ShiftEnsemble:
    assert isinstance(detector.model_, ShiftEnsemble)
    return detector.model_


# ---------------------------------------------------------------------------------------------------------------
# Scores, one image and one number at a time


def cells(field: np.ndarray, grid: int) -> np.ndarray:
    """Means over grid x grid cells of (C, H, W), each channel's cells row by row."""
    out = []
    for channel in field:
        for row in range(grid):
            for column in range(grid):
                top, bottom = row * len(channel) // grid, -(-(row + 1) * len(channel) // grid)
                left, right = column * len(channel) // grid, -(-(column + 1) * len(channel) // grid)
                out.append(channel[top:bottom, left:right].mean())
    assert len(out) == len(field) * grid**2
    return np.array(out)


def by_loops(detector: Detector, image: torch.Tensor) -> dict[str, float]:
    """The four scores of one scaled image (C, H, W), with the nets' answers and the banks taken as they are."""
    nets, colors = ensemble(detector).nets(), ensemble(detector).colors
    assert colors is not None
    reference = {name: tensor.numpy().astype(np.float64) for name, tensor in detector.reference_.items()}
    k, one_side = TINY.neighbours, ensemble(detector).sided.item() == 1
    sums: dict[str, Any] = dict.fromkeys(("shift", "shape", "parts", "texture"), 0.0)
    weight = reference["reliability"].sum()
    for side, view in enumerate((image, image.flip(2))):
        turns = [torch.rot90(view, turn, (1, 2))[None] for turn in range(4)]
        with torch.inference_mode():
            levels = [
                [[part.numpy().astype(np.float64)[0] for part in net.levels(turn)] for turn in turns] for net in nets
            ]
            outputs = np.array([[net(turn).numpy()[0] for turn in turns] for net in nets], np.float64).mean(0)
            lower = [level.numpy().astype(np.float64)[0] for level in colors.lower_levels(view[None])]
        for t in range(4):
            # Four outputs for the turns; of one-sided things four more, for one side and against the other.
            more = outputs[t][4:] if one_side else np.zeros(4)
            logits = [*(outputs[t][:4] + more), *(outputs[t][:4] - more)]
            here = 4 * side + t
            for o in range(8):
                sums["shift"] -= reference["reliability"][here, o] * (logits[here] - logits[o]) / weight
        if side == 1 and one_side:
            continue
        share = 1 if one_side else 0.5
        seen = np.concatenate([level[2] / np.linalg.norm(level[2]) for net in levels for level in net])
        placed = (seen - reference["shape_mean"]) @ reference["shape_projection"]
        distances = sorted(np.linalg.norm(placed - other) for other in reference["shape_bank"])
        sums["shape"] += share * np.mean(distances[:k])
        # The levels of all nets, side by side: of the textures, all cells of a grid before those of the next.
        textures = [*(net[0][0] for net in levels), lower[0]]
        parts = np.concatenate([*(net[0][1] for net in levels), lower[1]])
        described = np.concatenate([cells(texture, grid) for grid in (1, 2, 3) for texture in textures])
        placed = (described - reference["texture_mean"]) @ reference["texture_projection"]
        distances = sorted(np.linalg.norm(placed - other) for other in reference["texture_bank"])
        sums["texture"] += share * np.mean(distances[:k])
        padded = np.pad(parts, ((0, 0), (1, 1), (1, 1)))
        for row in range(8):
            for column in range(8):
                # Zeros beyond the border count, as in PyTorch's average pooling.
                part = padded[:, row : row + 3, column : column + 3].mean((1, 2))
                placed = (part - reference["parts_mean"]) @ reference["parts_projection"]
                bank = reference["parts_bank"][8 * row + column]
                sums["parts"] += share * min(np.linalg.norm(placed - other) for other in bank) / 64
    return sums


def test_scores_are_those_of_slow_loops(detector: Detector) -> None:
    check_scores(detector)


def test_scores_of_two_members_are_those_of_slow_loops() -> None:
    check_scores(made_to_be(False, dataclasses.replace(TINY, members=2)))


def check_scores(detector: Detector) -> None:
    images = np.concatenate([made_normals(5, 2), made_novel(5, 2)])
    found = detector.novelty_scores(images)
    scaled = detector.spec_.scale(torch.from_numpy(images.transpose(0, 3, 1, 2)))
    reference = detector.reference_
    # The pairs of turns, of either side; where mirroring is a shift, each turn and the same mirrored besides.
    pairs = 4 * 3 * 4 + (8 if ensemble(detector).sided.item() == 1 else 0)
    share = reference["reliability"].sum().item() / pairs
    assert 0 < share < 1
    weights = np.array([3 * share, 3, 1, 1])
    for place, image in enumerate(scaled):
        expected = by_loops(detector, image)
        for name, value in expected.items():
            assert found[name][place] == pytest.approx(value, rel=1e-4, abs=1e-5), name
        standard = (np.array(list(expected.values())) - reference["mean"].numpy()) / reference["deviation"].numpy()
        assert found["novelty"][place] == pytest.approx(weights @ standard / weights.sum(), rel=1e-3, abs=1e-3)


def test_axes_are_those_of_the_normals_and_their_shape_is_compared_along_every_one(detector: Detector) -> None:
    nets, reference = ensemble(detector).nets(), detector.reference_
    places = learned_places(detector)
    images = detector.spec_.scale(torch.from_numpy(made_normals(0, 60)[places].transpose(0, 3, 1, 2)))
    views = [images] if ensemble(detector).sided.item() == 1 else [images, images.flip(3)]
    with torch.inference_mode():
        features = [
            torch.cat([torch.nn.functional.normalize(nets[0].features(torch.rot90(v, t, (2, 3)))) for t in range(4)], 1)
            for v in views
        ]
    axes = every_axis(torch.cat(features))
    torch.testing.assert_close(reference["shape_mean"], axes.mean, rtol=1e-3, atol=1e-4)
    # Axes may point either way, and turn among those that vary alike: what they say of distances is the same.
    found, expected = (p @ p.T for p in (reference["shape_projection"], axes.projection))
    torch.testing.assert_close(found, expected, rtol=1e-2, atol=1e-2 * expected.max().item())
    # Two nets' 8 channels in 1 + 4 + 9 cells along six axes, and their 16 at places along all there are.
    assert reference["texture_projection"].shape == (2 * 8 * 14, 6)
    assert reference["parts_projection"].shape == (2 * 16, 32)


def learned_places(detector: Detector, most: int = TINY.bank) -> np.ndarray:
    """Of the 60 normals those that shape and texture are compared with."""
    learned = np.setdiff1d(np.arange(60), ensemble(detector).held_out.numpy())
    places: np.ndarray = learned[np.linspace(0, len(learned) - 1, most).round().astype(int)]
    return places


def test_mirrored_normals_are_normals_where_mirroring_is_no_shift(detector: Detector) -> None:
    one_sided = ensemble(detector).sided.item() == 1
    rows = 30 if one_sided else 60
    assert [len(detector.reference_[f"{name}_bank"]) for name in ("shape", "texture")] == [rows, rows]
    assert detector.reference_["parts_bank"].shape[:2] == (64, 12 if one_sided else 24)
    normals = made_normals(0, 60)  # those it learned from
    held_out = ensemble(detector).held_out.numpy()
    places = learned_places(detector)[np.linspace(0, 29, 12).round().astype(int)]
    scores = detector.novelty_scores(normals[places])["parts"]
    np.testing.assert_allclose(scores, 0, atol=1e-3)
    mirrored = detector.novelty_scores(normals[places][:, :, ::-1])["parts"]
    assert mirrored.min() > 0.1 if one_sided else mirrored.max() < 1e-3
    assert detector.novelty_scores(normals[held_out])["parts"].min() > 0.1, "what judges was not learned"


def test_held_out_normals_are_standard() -> None:
    images = made_normals(1, 200)
    detector = fitted(images=images)
    held_out = images[ensemble(detector).held_out.numpy()]
    assert len(held_out) == 20
    scores = detector.novelty_scores(held_out)
    for place, name in enumerate(("shift", "shape", "parts", "texture")):
        mean, deviation = detector.reference_["mean"][place].item(), detector.reference_["deviation"][place].item()
        assert scores[name].mean() == pytest.approx(mean, rel=1e-4, abs=1e-5)
        assert scores[name].std(ddof=1) == pytest.approx(deviation, rel=1e-3)
    assert abs(scores["novelty"].mean()) < 1e-3


def test_reliability_is_that_of_slow_loops() -> None:
    logits = torch.from_numpy(np.random.default_rng(0).normal(size=(50, 4, 4)).astype(np.float32))
    logits[:, 0, 0] += 2
    found = reliability(logits)
    for t in range(4):
        for o in range(4):
            one = sum(bool(sample[t, t] > sample[t, o]) for sample in logits)
            other = sum(bool(sample[o, o] > sample[o, t]) for sample in logits)
            assert found[t, o].item() == pytest.approx(0.0 if t == o else max(0.0, (one + other) / 50 - 1), abs=1e-6)


# ---------------------------------------------------------------------------------------------------------------
# What is held out, and what it decides


@pytest.mark.parametrize(("count", "held"), [(8, 2), (40, 8), (100, 10), (5_000, 500), (100_000, 2_000)])
def test_who_is_held_out(count: int, held: int) -> None:
    made = ShiftEnsemble(SampleSpec("image", 3, 32, 32), count, 4, 1)
    learned = set(made.learned(count).tolist())
    assert len(set(made.held_out.tolist())) == held
    assert learned == set(range(count)) - set(made.held_out.tolist())
    walked = made.walked(count)
    assert set(walked.tolist()) == learned
    assert len(walked) >= 1_000
    assert len(walked) < max(2_000, len(learned) + 1)


@pytest.mark.parametrize(("count", "held"), [(8, 2), (40, 8), (100, 10), (5_003, 500)])
def test_of_recordings_runs_of_segments_are_held_out(count: int, held: int) -> None:
    form = AudioForm()
    spec = SampleSpec("spectrogram", *form.shape, recording=form)
    places = ShiftEnsemble(spec, count, 4, 1).held_out.numpy()
    assert len(set(places.tolist())) == held
    assert places.min() >= 0
    assert places.max() < count
    assert np.count_nonzero(np.diff(places) != 1) == min(held, 5) - 1, "few of them have a neighbour that is learned"
    # Of each fifth about as many.
    assert np.ptp(np.bincount(places * 5 // count, minlength=5)) <= 1


def test_nothing_is_learned_from_the_held_out(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: set[int] = set()
    walk = Normals.walk

    def watched(self: Normals, order: list[torch.Tensor]) -> object:
        seen.update(place for part in order for place in part.tolist())
        return walk(self, order)

    monkeypatch.setattr(Normals, "walk", watched)
    steps = Detector(TINY, TRAINING, calibration_fraction=0.0, keep_examples=0).fitting(made_normals(0, 60))
    next(iter(steps))
    assert len(seen) == 52
    assert len(steps_left := set(range(60)) - seen) == 8
    assert steps_left == set(np.linspace(0, 59, 8).round().astype(int).tolist())


def test_what_has_no_upright_is_not_judged_by_its_turns() -> None:
    quarter = np.random.default_rng(0).integers(0, 256, (60, 16, 16, 3), dtype=np.uint8)
    # Every image is its own quarter turn, to the last pixel.
    top = np.concatenate([quarter, np.rot90(quarter, 3, (1, 2))], 2)
    round_images = np.concatenate([top, np.rot90(top, 2, (1, 2))], 1)
    np.testing.assert_array_equal(round_images, np.rot90(round_images, 1, (1, 2)))
    detector = fitted(images=round_images)
    # The last digits of two passes may differ, so that one beats the other by chance.
    assert detector.reference_["reliability"].max() < 0.4
    (sentence,) = detector.findings()
    assert "upright from turned by 180 degrees" in sentence
    assert "mirrored" not in sentence


def asymmetric(count: int) -> np.ndarray:
    """Images (N, 32, 32, 1) of a hook that always points to the right."""
    out = np.random.default_rng(3).integers(0, 30, (count, 32, 32, 1)).astype(np.uint8)
    for image, (row, column) in zip(out, np.random.default_rng(4).integers(0, 4, (count, 2)), strict=True):
        image[4 + row : 26 + row, 8 + column : 12 + column] = 220
        image[4 + row : 10 + row, 8 + column : 24 + column] = 220
    return out


def test_what_has_one_side_is_novel_when_mirrored() -> None:
    training = dataclasses.replace(TRAINING, epochs=4)
    detector = Detector(Novanda(width=8), training, calibration_fraction=0.0).fit(asymmetric(120))
    assert ensemble(detector).sided.item() == 1
    assert any("wrong way round" in sentence for sentence in detector.findings())
    r = detector.reference_["reliability"]
    assert r[0, 4] > 0.9, "a hook and its mirror image are told apart"
    fresh = asymmetric(160)[120:]
    scores = detector.novelty_scores(np.concatenate([fresh, fresh[:, :, ::-1]]))
    for name in ("novelty", "shift"):
        assert roc_auc_score(np.repeat([0, 1], 40), scores[name]) > 0.95, name


def test_a_side_that_the_net_can_not_tell_is_said_to_count_little() -> None:
    detector = fitted(images=asymmetric(60))
    assert ensemble(detector).sided.item() == 1
    for told, count in ((0.9, 1), (0.1, 2)):
        reference = dict(detector.reference_, reliability=torch.ones(8, 8))
        reference["reliability"].diagonal(4).fill_(told)
        sentences = detector.method_.findings(detector.model_, reference)
        assert len(sentences) == count
        assert "wrong way round" in sentences[0]
    assert "counts little" in sentences[1]


def test_a_side_survives_a_file_a_resumed_run_and_an_export(tmp_path: Path) -> None:
    images, fresh = asymmetric(60), asymmetric(70)[60:]
    training = dataclasses.replace(TRAINING, epochs=2)

    def fresh_detector() -> Detector:
        return Detector(TINY, training, calibration_fraction=0.0, keep_examples=0)

    detector = fresh_detector().fit(images)
    assert ensemble(detector).sided.item() == 1
    expected = detector.novelty_scores(fresh)
    detector.save(tmp_path / "hooks.novanda")
    next(iter(fresh_detector().fitting(images, checkpoint=tmp_path / "hooks.checkpoint")))
    resumed = fresh_detector().fit(images, checkpoint=tmp_path / "hooks.checkpoint", resume=True)
    for other in (Detector.load(tmp_path / "hooks.novanda", device="cpu"), resumed):
        assert ensemble(other).sided.item() == 1
        for name, values in other.novelty_scores(fresh).items():
            np.testing.assert_array_equal(values, expected[name], err_msg=name)
    export(detector, tmp_path / "hooks.onnx")
    exported = ExportedDetector.load(tmp_path / "hooks.onnx", threads=1).novelty_scores(fresh)
    assert exported.keys() == expected.keys()
    for name, values in exported.items():
        np.testing.assert_allclose(values, expected[name], rtol=1e-3, atol=1e-3, err_msg=name)


def test_the_loss_without_a_side_is_that_of_four_classes() -> None:
    torch.manual_seed(0)
    model = TINY.build(SampleSpec("image", 3, 32, 32), 60)
    assert isinstance(model, ShiftEnsemble)
    (net,) = model.nets()
    (stage,) = TINY.stages(model, 1)
    images = torch.rand(5, 3, 32, 32) * 2 - 1
    model.eval()
    with torch.inference_mode():
        batch = Batch(images, torch.arange(5), torch.Generator().manual_seed(1), "image", 0.0)
        found = stage.players[0].loss(batch)["shift"].item()
        generator = torch.Generator().manual_seed(1)
        mirrored = torch.rand(5, generator=generator) >= 0.5
        views = shifted(shift_and_mirror(images, generator, TINY.padding, "image", mirrored), "image")
        turns = torch.arange(4).repeat_interleave(5)
        assert found == pytest.approx(torch.nn.functional.cross_entropy(net(views)[:, :4], turns).item(), abs=1e-5)
        model.sided.fill_(1.0)
        batch = dataclasses.replace(batch, generator=torch.Generator().manual_seed(1))
        outputs = net(views)
        logits = torch.cat([outputs[:, :4] + outputs[:, 4:], outputs[:, :4] - outputs[:, 4:]], 1)
        expected = torch.nn.functional.cross_entropy(logits, turns + 4 * mirrored.repeat(4))
        assert stage.players[0].loss(batch)["shift"].item() == pytest.approx(expected.item(), abs=1e-5)


@pytest.mark.parametrize("channels", [1, 3])
def test_the_loss_of_the_colors_is_that_of_slow_loops(channels: int) -> None:
    model = TINY.build(SampleSpec("image", channels, 32, 32), 60)
    assert isinstance(model, ShiftEnsemble)
    assert model.colors is not None
    (stage,) = TINY.stages(model, 1)
    assert [player.name for player in stage.players] == ["net_1", "colors"]
    assert {id(p) for p in stage.players[1].parameters} == {id(p) for p in model.colors.parameters()}
    images = torch.rand(6, channels, 32, 32, generator=torch.Generator().manual_seed(0)) * 2 - 1
    model.eval()
    for sided in (0.0, 1.0):
        model.sided.fill_(sided)
        batch = Batch(images, torch.arange(6), torch.Generator().manual_seed(1), "image", 0.0)
        generator = torch.Generator().manual_seed(1)
        # Where mirroring shows, no image is mirrored.
        mirrored = (torch.rand(6, generator=generator) < 0.5) & (sided == 0)
        assert mirrored.any() == (sided == 0)
        moved = shift_and_mirror(images, generator, TINY.padding, "image", mirrored)
        number = 5 if channels == 3 else 2
        labels = torch.randint(number, (6,), generator=generator).tolist()
        losses = []
        with torch.inference_mode():
            found = stage.players[1].loss(batch)["color"].item()
            for image, label in zip(moved, labels, strict=True):
                logits = model.colors(false_colors(image[None])[label])[0].double().numpy()
                for row, column in np.ndindex(8, 8):
                    here = logits[:, row, column]
                    losses.append(np.log(np.exp(here).sum()) - here[label])
        assert found == pytest.approx(np.mean(losses), rel=1e-4)


def test_what_has_either_side_is_as_normal_when_mirrored() -> None:
    images = asymmetric(120)
    images[::2] = images[::2, :, ::-1]
    detector = fitted(images=images)
    assert ensemble(detector).sided.item() == 0
    r = detector.reference_["reliability"]
    # An image and its mirror image are one class, so that nothing is asked of them; of other pairs it is.
    assert r.diagonal(4).max() == 0
    fresh = asymmetric(4)
    once, again = (detector.novelty_scores(each) for each in (fresh, fresh[:, :, ::-1]))
    for name, values in once.items():
        np.testing.assert_allclose(values, again[name], rtol=1e-4, atol=1e-4, err_msg=name)


def test_it_learns() -> None:
    training = dataclasses.replace(TRAINING, epochs=3)
    detector = Detector(Novanda(width=8), training, calibration_fraction=0.0).fit(made_normals(0, 100))
    normal, novel = made_normals(9, 40), made_novel(9, 40)
    scores = detector.novelty_scores(np.concatenate([normal, novel]))
    for name in ("novelty", "shape", "parts", "texture"):
        assert roc_auc_score(np.repeat([0, 1], 40), scores[name]) > 0.95, name


def test_remarks_name_the_turn_that_was_not_recognised(detector: Detector) -> None:
    images = torch.rand(6, 3, 32, 32) * 2 - 1
    (net,) = ensemble(detector).nets()
    one_side = ensemble(detector).sided.item()
    sure = dict(detector.reference_, reliability=torch.ones(8, 8).fill_diagonal_(0))
    with torch.inference_mode():
        found = detector.method_.remarks(detector.model_, sure, images)
        for image, remarks in zip(images, found, strict=True):
            outputs = [net(torch.rot90(image, turn, (1, 2))[None])[0] for turn in range(4)]
            answers = [int(torch.cat([o[:4] + one_side * o[4:], o[:4] - one_side * o[4:]]).argmax()) for o in outputs]
            wrong = [(turn, answer) for turn, answer in enumerate(answers) if turn != answer]
            names = [*negative_shifts("image"), *(f"mirrored and {name}" for name in negative_shifts("image"))]
            assert list(remarks) == [
                f"The net did not recognise it {names[turn]}: it took that for {names[answer]}."
                for turn, answer in wrong
            ]
        unsure = dict(detector.reference_, reliability=torch.zeros(8, 8))
        assert detector.method_.remarks(detector.model_, unsure, images) == [()] * 6
        # Known from mirrored ones alone: where mirroring is no shift there is nothing to say.
        mirrored_only = torch.ones(8, 8)
        mirrored_only[:, :4] = 0
        found = detector.method_.remarks(detector.model_, dict(unsure, reliability=mirrored_only), images)
        said = [remark for remarks in found for remark in remarks]
        assert all("for mirrored" in remark for remark in said)
        assert bool(said) is bool(one_side)


# ---------------------------------------------------------------------------------------------------------------
# Settings


def test_presets_differ_in_width_members_and_epochs() -> None:
    sizes = {}
    for preset in ("quick", "standard", "thorough"):
        method = Novanda(preset=preset)
        model = method.build(SampleSpec("image", 3, 32, 32), 100)
        assert isinstance(model, ShiftEnsemble)
        sizes[preset] = (model.nets()[0].feature_dim // 8, len(model.nets()), method.usual_training().epochs)
    assert sizes == {"quick": (16, 1, 18), "standard": (32, 1, 30), "thorough": (48, 2, 60)}
    assert Novanda.training.epochs == 30
    model = Novanda(preset="thorough", width=4, members=3).build(SampleSpec("image", 3, 32, 32), 100)
    assert isinstance(model, ShiftEnsemble)
    assert [net.feature_dim for net in model.nets()] == [32, 32, 32]
    assert all(isinstance(net, ResidualNet) for net in model.nets())


def test_members_are_averaged() -> None:
    detector = fitted(dataclasses.replace(TINY, members=2))
    images = made_normals(5, 3)
    both = detector.novelty_scores(images)
    scaled = detector.spec_.scale(torch.from_numpy(images.transpose(0, 3, 1, 2)))
    assert ensemble(detector).sided.item() == 0
    r = detector.reference_["reliability"]
    total = torch.zeros(3)
    with torch.inference_mode():
        for net in ensemble(detector).nets():
            for side, view in enumerate((scaled, scaled.flip(3))):
                logits = torch.stack([net(torch.rot90(view, turn, (2, 3)))[:, :4].repeat(1, 2) for turn in range(4)], 1)
                margins = logits.diagonal(4 * side, 1, 2)[:, :, None] - logits
                total -= (r[4 * side : 4 * side + 4] * margins).sum((1, 2)) / r.sum() / 2
    np.testing.assert_allclose(both["shift"], total.numpy(), rtol=1e-4, atol=1e-5)


def test_a_weight_must_be_left() -> None:
    with pytest.raises(InputError, match=r"Novanda.shape_weight must be above 0, or another"):
        Novanda(shape_weight=0.0, parts_weight=0.0, texture_weight=0.0)


# ---------------------------------------------------------------------------------------------------------------
# Shifts of other kinds


def test_a_turned_motion_points_where_the_turned_picture_does() -> None:
    generator = np.random.default_rng(0)
    field = generator.normal(size=(2, 5, 5))
    found = shifted(torch.from_numpy(field)[None], "flow").numpy()
    assert found.shape == (4, 2, 5, 5)
    for turn in range(4):
        angle = np.pi / 2 * turn
        for row in range(5):
            for column in range(5):
                # Mathematics' axes: x to the right, y up. The picture turns counter-clockwise about its middle.
                x, y = column - 2, 2 - row
                right, up = field[0, row, column], -field[1, row, column]
                turned_x, turned_y = x * np.cos(angle) - y * np.sin(angle), x * np.sin(angle) + y * np.cos(angle)
                to_right, to_up = right * np.cos(angle) - up * np.sin(angle), right * np.sin(angle) + up * np.cos(angle)
                place = round(2 - turned_y), round(turned_x + 2)
                np.testing.assert_allclose(found[turn, :, place[0], place[1]], [to_right, -to_up], atol=1e-12)


def test_a_spectrogram_is_mirrored_along_its_axes() -> None:
    sample = torch.rand(3, 1, 4, 6)
    as_it_is, backwards, upside_down, both = shifted(sample, "spectrogram").chunk(4)
    torch.testing.assert_close(as_it_is, sample)
    for row in range(4):
        for column in range(6):
            assert torch.equal(backwards[:, :, row, column], sample[:, :, row, 5 - column])
            assert torch.equal(upside_down[:, :, row, column], sample[:, :, 3 - row, column])
            assert torch.equal(both[:, :, row, column], sample[:, :, 3 - row, 5 - column])
    assert len(negative_shifts("spectrogram")) == 4


def test_a_kind_without_shifts_is_refused() -> None:
    with pytest.raises(InputError, match="shifts are of flow, image, spectrogram; got waveform"):
        negative_shifts("waveform")


@pytest.mark.parametrize("kind", ["spectrogram", "flow"])
def test_other_kinds(kind: str) -> None:
    generator = np.random.default_rng(0)
    channels = 2 if kind == "flow" else 1
    rows = np.linspace(-1, 1, 32)[:, None] * np.ones(32)
    normal = (rows + generator.normal(0, 0.1, (60, channels, 32, 32))).astype(np.float32)
    novel = generator.normal(0, 0.5, (20, channels, 32, 32)).astype(np.float32)
    detector = fitted(images=normal[:50], kind=kind)
    assert detector.spec_.kind == kind
    assert ensemble(detector).colors is None
    # A spectrogram's shifts mirror it already; all of this motion goes down and to one side above, the other below.
    assert (ensemble(detector).sides, ensemble(detector).sided.item()) == ((2, 1.0) if kind == "flow" else (1, 0.0))
    scores = detector.novelty_score(np.concatenate([normal[50:], novel]))
    assert scores[:10].max() < scores[10:].min()
