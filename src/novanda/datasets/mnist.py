"""MNIST: 60,000 training and 10,000 test images of handwritten digits, 28 x 28 gray (LeCun et al., 1998)."""

from __future__ import annotations

from pathlib import Path

from novanda.datasets.dataset import DataSet, Labelled
from novanda.datasets.idx import PARTS, idx_files, load_idx

SOURCE = "http://yann.lecun.com/exdb/mnist/ (its files: https://ossci-datasets.s3.amazonaws.com/mnist/)"

# The author's own server answers 403 to programs; this mirror is PyTorch's, with the published md5s.
_FILES = idx_files(
    "MNIST/raw",
    "https://ossci-datasets.s3.amazonaws.com/mnist",
    (
        "f68b3c2dcbeaaa9fbdd348bbdeb94873",
        "d53e105ee54ea40749a09fcbcd1e9432",
        "9fb629c4189551a2d022fa330f9573f3",
        "ec29112dd5afa0611ce80d1b7f02629c",
    ),
)
# Taken from the files whose gzipped md5 is the published one.
_UNZIPPED_MD5S = dict(
    zip(
        PARTS,
        (
            "6bbc9ace898e44ae57da46a324031adb",
            "a25bea736e30d166cdddb491f175f624",
            "2646ac647ad5339dbf082846283269ea",
            "27ae3e4e09519cfbb04c329615203637",
        ),
        strict=True,
    )
)


def load(root: Path) -> Labelled:
    """Read `root/MNIST/raw`; images (N, 28, 28, 1). Raises DataError as `load_idx` does."""
    return load_idx(root, _FILES, _UNZIPPED_MD5S, SOURCE)


MNIST = DataSet(
    name="mnist",
    title="MNIST",
    kind="image",
    classes=tuple("0123456789"),
    source=SOURCE,
    load=load,
    files=_FILES,
)
