"""The list of data sets, their names and classes, the root folder, and downloads (none is made here)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pooch
import pytest

from novanda import datasets
from novanda.datasets import DATASETS, DataSet
from novanda.errors import DataError


def test_names_are_found_in_any_writing() -> None:
    assert [data_set.name for data_set in DATASETS] == ["cifar10", "mnist", "fashion_mnist", "coil20", "coil100"]
    for data_set in DATASETS:
        assert datasets.get(data_set.name) is data_set
        assert datasets.get(f" {data_set.title.upper()} ") is data_set
    with pytest.raises(DataError, match=r"cifar10, mnist, fashion_mnist, coil20, coil100\); got 'cifar11'"):
        datasets.get("cifar11")


@pytest.mark.parametrize("data_set", DATASETS, ids=lambda data_set: data_set.name)
def test_every_class_has_one_label(data_set: DataSet) -> None:
    for label, name in enumerate(data_set.classes):
        assert data_set.label(name) == data_set.label(name.upper()) == data_set.label(str(label)) == label
    for alias, name in data_set.aliases.items():
        assert data_set.label(alias) == data_set.classes.index(name)
    for wrong in ("no such", "-1", str(len(data_set.classes)), "²"):
        with pytest.raises(DataError, match="expected one of its classes"):
            data_set.label(wrong)


def test_car_and_plane() -> None:
    assert datasets.get("cifar10").label("car") == 1
    assert datasets.get("cifar10").label("Plane") == 0


def test_the_root_is_the_argument_or_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a").mkdir()
    monkeypatch.setenv("NOVANDA_DATA", str(tmp_path))
    assert datasets.find_root() == tmp_path
    assert datasets.find_root(tmp_path / "a") == tmp_path / "a"
    with pytest.raises(DataError, match=r"missing: .*\(data_root\)"):
        datasets.find_root(tmp_path / "missing")
    monkeypatch.setenv("NOVANDA_DATA", str(tmp_path / "gone"))
    with pytest.raises(DataError, match=r"gone: .*\(NOVANDA_DATA\)"):
        datasets.find_root()
    monkeypatch.setenv("NOVANDA_DATA", "")
    with pytest.raises(DataError, match=r"data_root .*or set the environment variable NOVANDA_DATA"):
        datasets.find_root()
    monkeypatch.delenv("NOVANDA_DATA")
    with pytest.raises(DataError, match=r"data_root .*or set the environment variable NOVANDA_DATA"):
        datasets.find_root()


def test_missing_sets_say_where_to_get_them(tmp_path: Path) -> None:
    for data_set in DATASETS:
        with pytest.raises(DataError, match=rf"missing.*{data_set.source.split(' ')[0]}"):
            data_set.load(tmp_path)


@pytest.fixture
def fetched(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    calls: list[dict[str, Any]] = []
    monkeypatch.setattr(pooch, "retrieve", lambda url, **options: calls.append({"url": url, **options}))
    return calls


def test_downloads_name_the_published_md5(tmp_path: Path, fetched: list[dict[str, Any]]) -> None:
    datasets.download("fashion-mnist", tmp_path / "new")
    files = datasets.get("fashion_mnist").files
    assert [call["known_hash"] for call in fetched] == [f"md5:{file.md5}" for file in files]
    assert [Path(call["path"]) / call["fname"] for call in fetched] == [tmp_path / "new" / file.name for file in files]
    assert all(call["url"].endswith(call["fname"]) for call in fetched)


def test_archives_are_unpacked(tmp_path: Path, fetched: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(DataError, match="expected the 6 batches"):  # as nothing was really fetched
        datasets.download("cifar10", tmp_path)
    assert fetched[0]["known_hash"] == "md5:c58f30108f718f92721af3b95e74349a"


@pytest.mark.parametrize("name", ["coil20", "coil100"])
def test_sets_without_checksums_are_fetched_by_hand(tmp_path: Path, fetched: list[dict[str, Any]], name: str) -> None:
    with pytest.raises(DataError, match=r"fetch it by hand from https://www.cs.columbia.edu"):
        datasets.download(name, tmp_path)
    assert not fetched


def failing(error: Exception) -> Callable[..., None]:
    def fail(*_: Any, **__: Any) -> None:
        raise error

    return fail


@pytest.mark.parametrize("error", [ConnectionError("no route"), ValueError("MD5 hash of downloaded file differs")])
def test_failed_downloads_say_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    monkeypatch.setattr(pooch, "retrieve", failing(error))
    with pytest.raises(DataError, match=r"could not be downloaded from .*by hand"):
        datasets.download("mnist", tmp_path)
