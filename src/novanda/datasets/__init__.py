"""Published data sets: one file each; `DATASETS` is the one place that names them all."""

from __future__ import annotations

from pathlib import Path

from novanda.datasets.cifar10 import CIFAR10
from novanda.datasets.coil import COIL20, COIL100
from novanda.datasets.dataset import ROOT_VARIABLE, DataSet, File, Labelled, find_root
from novanda.datasets.fashion_mnist import FASHION_MNIST
from novanda.datasets.fetching import fetch
from novanda.datasets.mnist import MNIST
from novanda.errors import DataError

__all__ = ["DATASETS", "ROOT_VARIABLE", "DataSet", "File", "Labelled", "download", "find_root", "get"]

DATASETS: tuple[DataSet, ...] = (CIFAR10, MNIST, FASHION_MNIST, COIL20, COIL100)


def get(name: str) -> DataSet:
    """The data set of this name, in any case, "-" and "_" alike; raises DataError listing the names."""
    wanted = name.strip().lower().replace("-", "_")
    for data_set in DATASETS:
        if wanted in (data_set.name, data_set.title.lower().replace("-", "_")):
            return data_set
    names = ", ".join(data_set.name for data_set in DATASETS)
    raise DataError(f"expected the name of a data set ({names}); got {name!r}")


def download(name: str, root: str | Path) -> None:
    """Download a data set below `root`, checked against the published md5s; raises DataError as `fetch` does."""
    fetch(get(name), Path(root).expanduser())
