"""Table 6's protocol on generated clips in both layouts: HTER by hand, thresholds, folds that part subjects."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from face_sets import write_casia_mfsd, write_replay_attack
from novanda import Detector, VideoForm, methods
from novanda.benchmark.face_attacks import cross_data_set_errors, equal_error_threshold, one_class
from novanda.datasets.face_clips import FaceClip, read_casia_mfsd, read_replay_attack
from novanda.errors import InputError
from novanda.supervised import DESCRIPTOR_SYSTEMS, Classifier, ClipJudge

FORM = VideoForm(side=16)


@pytest.fixture(scope="module")
def replay(tmp_path_factory: pytest.TempPathFactory) -> list[FaceClip]:
    return read_replay_attack(write_replay_attack(tmp_path_factory.mktemp("replay")))


@pytest.fixture(scope="module")
def casia(tmp_path_factory: pytest.TempPathFactory) -> list[FaceClip]:
    return read_casia_mfsd(write_casia_mfsd(tmp_path_factory.mktemp("casia")))


def fit(paths: Sequence[Path]) -> Detector:
    return Detector(methods.NearestNeighbour(), calibration_fraction=0, recording=FORM).fit(
        [str(path) for path in paths]
    )


def mean_novelty(detector: Detector, clips: Sequence[FaceClip]) -> list[float]:
    return [float(np.mean(next(detector.timelines(str(one.path))).novelty)) for one in clips]


def hter(live: list[float], attacks: list[float], threshold: float) -> float:
    rejected = sum(1 for value in live if value > threshold)
    accepted = sum(1 for value in attacks if value <= threshold)
    return (rejected / len(live) + accepted / len(attacks)) / 2


def sides(values: list[float], clips: Sequence[FaceClip]) -> tuple[list[float], list[float]]:
    both = list(zip(values, clips, strict=True))
    return [value for value, one in both if one.live], [value for value, one in both if not one.live]


def test_a_source_with_a_development_split(replay: list[FaceClip], casia: list[FaceClip]) -> None:
    found = cross_data_set_errors(one_class(fit), replay, casia)
    detector = fit([one.path for one in replay if one.split == "train" and one.live])
    devel, test = ([one for one in part if one.split == split] for part, split in ((replay, "devel"), (casia, "test")))
    source, target = (sides(mean_novelty(detector, part), part) for part in (devel, test))
    assert (found.live, found.attacks, found.left_out) == (len(target[0]), len(target[1]), ()) == (4, 4, ())
    assert found.development == hter(*target, found.thresholds[0])
    assert found.one_class == hter(*target, found.thresholds[1])
    assert found.oracle == hter(*target, found.thresholds[2])
    assert found.thresholds[1] == pytest.approx(np.percentile(source[0], 95))
    assert found.oracle <= 0.5
    # The attacks of devel lie above its live clips, so every threshold between them parts the two sides.
    assert max(source[0]) < found.thresholds[0] < min(source[1])


def test_a_source_without_one_is_folded_by_subject(replay: list[FaceClip], casia: list[FaceClip]) -> None:
    learned: list[set[str]] = []

    def noted(paths: Sequence[Path]) -> Detector:
        learned.append({path.parent.name for path in paths})
        return fit(paths)

    found = cross_data_set_errors(one_class(noted), casia, replay, folds=3)
    assert learned[0] == {"1", "2", "3"}
    assert sorted(map(sorted, learned[1:])) == [["1", "2"], ["1", "3"], ["2", "3"]]
    train, test = ([one for one in part if one.split == split] for part, split in ((casia, "train"), (replay, "test")))
    live = []
    for subject in ("1", "2", "3"):
        detector = fit([one.path for one in train if one.live and one.subject != subject])
        live += mean_novelty(detector, [one for one in train if one.live and one.subject == subject])
    assert found.thresholds[1] == pytest.approx(np.percentile(live, 95))
    target = sides(mean_novelty(fit([one.path for one in train if one.live]), test), test)
    assert (found.development, found.one_class, found.oracle) == tuple(
        hter(*target, threshold) for threshold in found.thresholds
    )


def test_a_broken_clip_is_left_out_and_named(replay: list[FaceClip], casia: list[FaceClip], tmp_path: Path) -> None:
    broken = tmp_path / "1.avi"
    broken.write_text("words")
    found = cross_data_set_errors(one_class(fit), replay, [*casia, FaceClip(broken, "test", "9", None)])
    assert found.left_out == (str(broken),)
    assert found.live == 4


@pytest.mark.parametrize(
    ("live", "attacks", "low", "high"),
    [
        ([1.0, 2.0, 3.0], [4.0, 5.0], 3, 4),  # parted: nothing flagged, nothing missed
        ([1.0, 2.0, 6.0], [4.0, 5.0, 0.5], 2, 4),  # one of three on either side
        ([1.0], [1.0], 0, 2),  # alike
        ([5.0, 6.0], [1.0, 2.0], 2, 5),  # the wrong way round: all flagged, all missed
    ],
)
def test_the_equal_error_point(live: list[float], attacks: list[float], low: float, high: float) -> None:
    threshold = equal_error_threshold(np.array(live), np.array(attacks))
    assert low < threshold < high


def test_a_supervised_system_is_judged_by_the_same_protocol(replay: list[FaceClip], casia: list[FaceClip]) -> None:
    """It learns from both sides of the train split alone; the figures are those of a count over its scores."""
    learned: list[list[FaceClip]] = []

    def learn(clips: Sequence[FaceClip]) -> ClipJudge:
        learned.append(list(clips))
        return Classifier(system).learn(clips)

    system = next(each for each in DESCRIPTOR_SYSTEMS if each.name == "motion")
    found = cross_data_set_errors(learn, replay, casia)
    train = [one for one in replay if one.split == "train"]
    assert learned == [train]
    assert sum(one.live for one in train) == sum(not one.live for one in train) == 5
    judge = Classifier(system).learn(train)

    def scores(clips: Sequence[FaceClip]) -> list[float]:
        return [score for score in judge(clips) if score is not None]

    devel, test = ([one for one in part if one.split == split] for part, split in ((replay, "devel"), (casia, "test")))
    source, target = sides(scores(devel), devel), sides(scores(test), test)
    assert (len(target[0]), len(target[1])) == (4, 4)
    assert found.thresholds[0] == equal_error_threshold(*map(np.array, source))
    assert found.thresholds[1] == pytest.approx(np.percentile(source[0], 95))
    assert (found.development, found.one_class, found.oracle) == tuple(
        hter(*target, threshold) for threshold in found.thresholds
    )
    assert found.scores["attacks"].tolist() == target[1]


def test_sets_that_lack_a_side_are_refused(replay: list[FaceClip], casia: list[FaceClip]) -> None:
    with pytest.raises(InputError, match="expected live clips to learn from"):
        cross_data_set_errors(one_class(fit), [one for one in replay if not one.live], casia)
    with pytest.raises(InputError, match="got only one side"):
        cross_data_set_errors(one_class(fit), replay, [one for one in casia if one.live])
    with pytest.raises(InputError, match="at most the 3 subjects; got 4"):
        cross_data_set_errors(one_class(fit), casia, replay, folds=4)
