"""Fetching published data sets with their published checksums."""

from __future__ import annotations

from pathlib import Path

from novanda.datasets.dataset import DataSet
from novanda.errors import DataError


def fetch(data_set: DataSet, root: Path) -> None:
    """Download a data set below `root` (made if need be), each file checked against its published md5.

    Files that are already there and right are not fetched again.

    Raises:
        DataError: no checksums are published for it; no connection; a file is not the published one.
    """
    if not data_set.files:
        raise DataError(
            f"{data_set.name}: expected a data set with published checksums; {data_set.title} has none, so it is not "
            f"downloaded; fetch it by hand from {data_set.source} and lay it out as the docstring of its module says"
        )
    import pooch  # only who downloads needs it

    for file in data_set.files:
        path = root / file.name
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            pooch.retrieve(file.url, known_hash=f"md5:{file.md5}", fname=path.name, path=path.parent)
        except (OSError, ValueError) as error:  # requests' errors are OSError; a wrong hash is ValueError
            raise DataError(
                f"{path}: could not be downloaded from {file.url}: {error}; try again, or fetch it by hand "
                f"({data_set.source})"
            ) from error
    if data_set.unpack is not None:
        data_set.unpack(root)
