"""Published data sets: one file each; `DATASETS` and `SOUND_SETS` are the one place that names them all."""

from __future__ import annotations

from pathlib import Path

from novanda.datasets.cifar10 import CIFAR10
from novanda.datasets.coil import COIL20, COIL100
from novanda.datasets.dataset import ROOT_VARIABLE, DataSet, File, Labelled, SoundSet, find_root
from novanda.datasets.dcase2017 import DCASE2017
from novanda.datasets.esc10 import ESC10
from novanda.datasets.fashion_mnist import FASHION_MNIST
from novanda.datasets.fetching import fetch
from novanda.datasets.mnist import MNIST
from novanda.errors import DataError

__all__ = [
    "DATASETS",
    "ROOT_VARIABLE",
    "SOUND_SETS",
    "DataSet",
    "File",
    "Labelled",
    "SoundSet",
    "download",
    "find_root",
    "get",
    "named",
]

DATASETS: tuple[DataSet, ...] = (CIFAR10, MNIST, FASHION_MNIST, COIL20, COIL100)
SOUND_SETS: tuple[SoundSet, ...] = (DCASE2017, ESC10)


def get(name: str) -> DataSet:
    """The data set of this name, in any case, "-" and "_" alike; raises DataError listing the names."""
    wanted = name.strip().lower().replace("-", "_")
    for data_set in DATASETS:
        if wanted in (data_set.name, data_set.title.lower().replace("-", "_")):
            return data_set
    names = ", ".join(data_set.name for data_set in DATASETS)
    raise DataError(f"expected the name of a data set ({names}); got {name!r}")


def named(name: str) -> DataSet | SoundSet | None:
    """The set of images or of sounds that is called exactly so; None for one that this version has not."""
    every: tuple[DataSet | SoundSet, ...] = (*DATASETS, *SOUND_SETS)
    return next((each for each in every if each.name == name), None)


def download(name: str, root: str | Path) -> None:
    """Download a data set below `root`, checked against the published md5s; raises DataError as `fetch` does."""
    fetch(get(name), Path(root).expanduser())
