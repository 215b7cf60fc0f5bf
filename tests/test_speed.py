"""The speed benchmark runs, and its line holds every figure it promises. No time is asserted."""

from __future__ import annotations

import json
import math
import platform
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from novanda import methods

ROOT = Path(__file__).resolve().parent.parent
SCRIPT = ROOT / "benchmarks/speed.py"
EARLIER = '{"earlier": 1}'
SPREAD = {"median", "min", "max", "repetitions"}
LEARNED = {"nda", "auto_encoder", "rotnet"}
# The speed of sounds is measured by `benchmarks/sound.py`.
ALL = {method.name for method in methods.METHODS if "image" in method.kinds}
# Those that train no network have no learned numbers.
UNCOUNTED = {f"/networks/{name}/parameters" for name in ("pca", "nearest_neighbour", "ocsvm", "dictionary")}

slow = pytest.mark.slow  # four processes that import torch: 20 s alone, minutes beside training runs


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> str:
    """What --quick leaves in a file that held a line before."""
    path = tmp_path_factory.mktemp("speed") / "speed.jsonl"
    path.write_text(EARLIER + "\n")
    # One thread: other tests run beside this one.
    command = [sys.executable, "-W", "error", str(SCRIPT), "--quick", "--threads", "1", "--out", str(path)]
    finished = subprocess.run(command, capture_output=True, text=True)
    assert finished.returncode == 0, finished.stderr
    assert "training nda, auto" in finished.stdout
    return path.read_text()


@pytest.fixture(scope="module")
def line(text: str) -> dict[str, Any]:
    first, second, end = text.split("\n")
    assert (first, end) == (EARLIER, "")
    found: dict[str, Any] = json.loads(second)
    return found


def leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        for key, part in value.items():
            yield from leaves(part, f"{path}/{key}")
    elif isinstance(value, list):
        for part in value:
            yield from leaves(part, path)
    else:
        yield path, value


@slow
def test_every_number_is_finite_and_positive(line: dict[str, Any]) -> None:
    numbers = {path: v for path, v in leaves(line) if isinstance(v, int | float) and not isinstance(v, bool)}
    assert len(numbers) > 100
    assert all(numbers[path] == 0 for path in UNCOUNTED)
    idle = {"/load_average", *UNCOUNTED}  # the load is 0 on a machine at rest
    assert not {path: v for path, v in numbers.items() if not (math.isfinite(v) and (v > 0 or path in idle))}


@slow
def test_says_what_was_measured_where(line: dict[str, Any]) -> None:
    assert {"date", "commit", "seconds", "load_average"} <= line.keys()
    assert line["quick"] is True
    assert {"system", "architecture", "processor", "avx512_bf16", "cores", "threads"} <= line["machine"].keys()
    assert line["machine"]["threads"] == 1
    assert {"python", "novanda", "torch", "numpy", "kornia", "onnxruntime"} <= line["versions"].keys()
    assert line["sizes"]["sample"] == [3, 32, 32]


@slow
def test_tells_neither_host_nor_paths(text: str, line: dict[str, Any]) -> None:
    assert platform.node() not in [value for _, value in leaves(line)]
    assert not [place for place in (ROOT, Path.home(), Path(sys.prefix)) if f'"{place}' in text]


@slow
def test_training_of_every_method_that_has_stages(line: dict[str, Any]) -> None:
    assert line["training"].keys() == line["memory_mib"].keys() >= LEARNED
    for found in line["training"].values():
        assert found["step_gflop"] > 0
        for precision in ("auto", "32"):
            assert found[precision]["images_per_second"].keys() == SPREAD
            used = found[precision]["used"]
            peak = line["convolution_tflops"][used]["peak"]
            assert found[precision]["share_of_peak"] == pytest.approx(found[precision]["tflops"] / peak, rel=1e-3)
        assert found["32"]["used"] == "32"
    for memory in line["memory_mib"].values():
        assert memory["peak"] > memory["before"]


# Output places x 9 x inputs x outputs of each 3 x 3 convolution up to the third level, at width 32.
FIRST = 32 * 32 * 9 * 3 * 32
TRUNK = (
    FIRST + 32 * 32 * 9 * 32 * 64 + 16 * 16 * 9 * (2 * 64 * 64 + 64 * 128) + 8 * 8 * 9 * 2 * 128 * 128
)  # the last level costs 8 * 8 * 9 * 128 * 256 more


@slow
def test_an_image_costs_as_much_however_often_an_epoch_walks_it(line: dict[str, Any]) -> None:
    """novanda's first net is RotNet's and sees an image in four turns too; its second sees it once, with five answers.

    It walks few images several times an epoch.
    """
    ours, theirs = (line["training"][name]["step_gflop"] for name in ("novanda", "rotnet"))
    second = 3 * (TRUNK + 8 * 8 * 128 * 5) - FIRST  # nobody needs the gradient of the images
    expected = 2 * second * line["sizes"]["batch_size"] / 1e9
    assert ours - theirs == pytest.approx(expected, rel=0.02)


@slow
def test_the_pieces_of_a_score_cost_what_was_counted_by_hand(line: dict[str, Any]) -> None:
    pieces = line["novanda_pieces"]
    assert list(pieces) == ["turns", "colors", "shape", "parts", "texture"]
    assert pieces["turns"]["multiply_adds"] == TRUNK + 8 * 8 * 9 * 128 * 256
    assert pieces["colors"]["multiply_adds"] == TRUNK
    # 64 images less the eight held out, and the same mirrored.
    assert [pieces[name].get("normals") for name in pieces] == [None, None, 112, 112, 112]
    assert pieces["shape"]["multiply_adds"] == 4 * 256 * (4 * 256 + 112)
    assert pieces["parts"]["multiply_adds"] == 64 * (2 * 128 * 64 + 64 * 112)
    # Two nets' 64 channels in 1 + 4 + 9 cells; of 112 normals 111 axes at most.
    assert pieces["texture"]["multiply_adds"] == 2 * 64 * 14 * 111 + 111 * 112


@slow
def test_operations_of_the_auto_encoder_are_those_counted_by_hand(line: dict[str, Any]) -> None:
    """Output places x inputs x outputs of each 4 x 4 convolution; the decoder's are the encoder's in reverse."""
    encoder = 16 * 16 * 3 * 64 + 8 * 8 * 64 * 128 + 4 * 4 * 128 * 256 + 256 * 128
    multiply_adds = 16 * (3 * 2 * encoder - 16 * 16 * 3 * 64)  # nobody needs the gradient of the images
    expected = 2 * multiply_adds * line["sizes"]["batch_size"] / 1e9
    assert line["training"]["auto_encoder"]["step_gflop"] == pytest.approx(expected, rel=1e-3)


@slow
def test_augmentation_beside_kornia(line: dict[str, Any]) -> None:
    rates = line["augmentation"]["images_per_second"]
    assert rates.keys() == {"novanda", "kornia"}
    assert all(found.keys() == SPREAD for found in (*rates.values(), line["augmentation"]["times_faster"]))


@slow
@pytest.mark.parametrize("part", ["scoring", "exported"])
def test_scoring_of_every_method(part: str, line: dict[str, Any]) -> None:
    assert line[part].keys() == ALL
    for found in line[part].values():
        assert found["images_per_second"].keys() == SPREAD
        assert found["latency_ms"].keys() == SPREAD | {"percentile_95"}


@slow
def test_bf16_beside_float32_scores(line: dict[str, Any]) -> None:
    assert line["bf16_score_differences"].keys() >= LEARNED
    for scores in line["bf16_score_differences"].values():
        assert scores
        assert all(found.keys() == {"absolute", "relative", "deviations"} for found in scores.values())


@slow
def test_machine_and_peaks(line: dict[str, Any]) -> None:
    assert line["convolution_tflops"].keys() == {"bf16", "32"}
    for found in line["convolution_tflops"].values():
        assert found.keys() == SPREAD | {"peak", "channels", "side"}
        assert found["peak"] == found["max"]


def test_a_wrong_number_of_threads_is_refused() -> None:
    finished = subprocess.run([sys.executable, str(SCRIPT), "--threads", "0"], capture_output=True, text=True)
    assert finished.returncode == 2
    assert "--threads must be at least 1; got 0" in finished.stderr
