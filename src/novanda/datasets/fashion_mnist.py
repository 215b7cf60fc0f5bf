"""Fashion-MNIST: 60,000 training and 10,000 test images of clothing, 28 x 28 gray (Xiao et al., 2017)."""

from __future__ import annotations

from pathlib import Path

from novanda.datasets.dataset import DataSet, Labelled
from novanda.datasets.idx import PARTS, idx_files, load_idx

SOURCE = "https://github.com/zalandoresearch/fashion-mnist"

_FILES = idx_files(
    "FashionMNIST/raw",
    "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com",
    (
        "8d4fb7e6c68d591d4c3dfef9ec88bf0d",
        "25c81989df183df01b3e8a0aad5dffbe",
        "bef4ecab320f06d8554ea6380940ec79",
        "bb300cfdad3c16e7a12a480ee83cd310",
    ),
)
# Taken from the files whose gzipped md5 is the published one.
_UNZIPPED_MD5S = dict(
    zip(
        PARTS,
        (
            "f4a8712d7a061bf5bd6d2ca38dc4d50a",
            "9018921c3c673c538a1fc5bad174d6f9",
            "8181f5470baa50b63fa0f6fddb340f0a",
            "15d484375f8d13e6eb1aabb0c3f46965",
        ),
        strict=True,
    )
)


def load(root: Path) -> Labelled:
    """Read `root/FashionMNIST/raw`; images (N, 28, 28, 1). Raises DataError as `load_idx` does."""
    return load_idx(root, _FILES, _UNZIPPED_MD5S, SOURCE)


FASHION_MNIST = DataSet(
    name="fashion_mnist",
    title="Fashion-MNIST",
    kind="image",
    classes=(
        "T-shirt/top",
        "Trouser",
        "Pullover",
        "Dress",
        "Coat",
        "Sandal",
        "Shirt",
        "Sneaker",
        "Bag",
        "Ankle boot",
    ),
    aliases={"t-shirt": "T-shirt/top", "top": "T-shirt/top", "tshirt": "T-shirt/top", "boot": "Ankle boot"},
    source=SOURCE,
    load=load,
    files=_FILES,
)
