"""Protocol 1 by counting, on a set small enough to count."""

from __future__ import annotations

import numpy as np
import pytest

from novanda.benchmark.protocols import FOLDS, PROTOCOLS, Split, merged_folds
from novanda.datasets import Labelled
from novanda.errors import InputError

SIZES = {0: 23, 1: 50, 2: 41}
"""Images of each class in both parts together; 23 and 41 are no multiples of five."""


def numbered(count: int, first: int) -> np.ndarray:
    """Images that differ in their first pixel, (N, 4, 4, 1) uint8."""
    images = np.zeros((count, 4, 4, 1), dtype=np.uint8)
    images[:, 0, 0, 0] = np.arange(first, first + count)
    return images


def labelled_set() -> Labelled:
    labels = np.random.default_rng(0).permutation(np.repeat(list(SIZES), list(SIZES.values())))
    return Labelled(numbered(80, 0), labels[:80], numbered(34, 80), labels[80:], provenance="made")


LABELS = np.concatenate([labelled_set().train_labels, labelled_set().test_labels])


def identities(images: np.ndarray) -> list[int]:
    found: list[int] = images[:, 0, 0, 0].astype(int).tolist()
    return found


def folds(label: int) -> list[Split]:
    return [PROTOCOLS[f"fold_{number}"](labelled_set(), label) for number in range(1, FOLDS + 1)]


@pytest.mark.parametrize("label", list(SIZES))
def test_every_image_of_the_class_is_held_out_once(label: int) -> None:
    own = set(np.flatnonzero(label == LABELS).tolist())
    held_out: list[int] = []
    for split in folds(label):
        train, normal = identities(split.train_images), identities(split.test_images[~split.novel])
        assert set(train) | set(normal) == own, "official parts are merged, and nothing is lost"
        assert not set(train) & set(normal)
        assert len(normal) in (SIZES[label] // 5, SIZES[label] // 5 + 1), "a fifth"
        held_out += normal
    assert sorted(held_out) == sorted(own)


@pytest.mark.parametrize("label", list(SIZES))
def test_as_many_novelties_from_the_others_held_out_parts(label: int) -> None:
    for number, split in enumerate(folds(label), 1):
        novel = identities(split.test_images[split.novel])
        assert len(novel) == (~split.novel).sum()
        assert len(set(novel)) == len(novel), "drawn without replacement"
        assert all(LABELS[identity] != label for identity in novel)
        for identity in novel:  # the same image is held out where its own class is the normal one
            other = PROTOCOLS[f"fold_{number}"](labelled_set(), int(LABELS[identity]))
            assert identity in identities(other.test_images[~other.novel])
            assert identity not in identities(other.train_images)
        assert not set(identities(split.train_images)) & set(identities(split.test_images))


def test_novelties_are_drawn_uniformly_from_all_others() -> None:
    """Over all folds of class 0 (23 draws) both other classes come up about as often as their sizes say."""
    drawn = [LABELS[i] for split in folds(0) for i in identities(split.test_images[split.novel])]
    assert len(drawn) == SIZES[0]
    assert set(drawn) == {1, 2}
    assert 7 <= drawn.count(1) <= 18, "expected 23 * 50 / 91 = 12.6, deviation 2.2"


def test_the_same_each_time_and_another_for_each_fold() -> None:
    first, again = (PROTOCOLS["fold_2"](labelled_set(), 1) for _ in range(2))
    np.testing.assert_array_equal(first.test_images, again.test_images)
    np.testing.assert_array_equal(first.train_images, again.train_images)
    others = {tuple(sorted(identities(split.test_images))) for split in folds(1)}
    assert len(others) == FOLDS


def test_a_set_without_a_test_part_can_be_folded() -> None:
    whole = labelled_set()
    empty = Labelled(whole.train_images, whole.train_labels, whole.test_images[:0], whole.test_labels[:0], "made")
    split = merged_folds(empty, 1, 1)
    assert len(split.train_images) + (~split.novel).sum() == (whole.train_labels == 1).sum()


def test_too_few_others_are_an_error() -> None:
    labels = np.repeat([0, 1], [50, 5])
    lonely = Labelled(numbered(55, 0), labels, numbered(0, 0), labels[:0], "made")
    with pytest.raises(InputError, match="wants 10 novelties, as many as held-out normals; there are 1"):
        merged_folds(lonely, 0, 1)


@pytest.mark.parametrize("label", list(SIZES))
def test_designs_are_chosen_on_training_images_alone(label: int) -> None:
    official = labelled_set()
    split = PROTOCOLS["within_training"](official, label)
    train, test = identities(split.train_images), np.array(identities(split.test_images))
    own = set(np.flatnonzero(official.train_labels == label).tolist())
    normal, novel = test[~split.novel].tolist(), test[split.novel].tolist()
    assert set(train) | set(normal) == own
    assert not set(train) & set(normal)
    assert len(normal) == len(own) // 5
    assert max(train + normal + novel) < 80, "the official test images are not touched"
    for other in set(SIZES) - {label}:
        count = (official.train_labels == other).sum()
        assert (official.train_labels[novel] == other).sum() == -(-count // 10)
    assert label not in official.train_labels[novel]
    again = PROTOCOLS["within_training"](labelled_set(), label)
    assert np.array_equal(again.train_images, split.train_images)
