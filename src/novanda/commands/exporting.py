"""`novanda export`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import tyro

from novanda.commands.terminal import DataRoot, ModelFile, MorePhotos, check_writable, load_detector, open_new, say


def export(
    model: ModelFile,
    out: Annotated[Path, tyro.conf.arg(metavar="FILE")],
    check: MorePhotos = (),
    data_root: DataRoot = None,
) -> int:
    """Write a detector as one ONNX file, which `novanda score` reads without torch.

    Its scores are compared with the detector's before the file is kept; if they differ, none is written.

    Args:
        model: a file that `novanda fit` wrote.
        out: the ONNX file to write, such as parts.onnx.
        check: images to compare scores on, besides 256 made ones.
        data_root: folder of the named sets; otherwise the environment's NOVANDA_DATA.
    """
    check_writable(out)
    detector = load_detector(model, device="cpu")
    source = open_new(detector, check, data_root) if check else None
    from novanda.export import export as write

    parity = write(detector, out, source)
    say(
        f"novelty of {parity.samples} samples differs from the detector's by at most {parity.difference:.2g} of the "
        f"greatest ({parity.tolerance:g} allowed)"
    )
    if parity.resized_difference is not None:
        say(
            f"where the file itself resizes images, by {parity.resized_difference:.2g}; `novanda score` resizes "
            "as the detector does"
        )
    for name, difference in parity.left_out.items():
        say(f"left out: {name}, which differs by {difference:.2g}")
    say(f"written to {out}")
    return 0
