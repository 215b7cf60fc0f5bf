"""Measure speed and memory on this machine's CPU: `make bench`, or `python benchmarks/speed.py [--out FILE] [--quick]`.

Prints a table and adds one JSON line to a file. Every time is a median over repetitions with its least and greatest,
for a single timing says little; whatever is compared is measured in turns, so that a load that comes and goes
meets both alike. The line keeps the load average at the start: more running processes than cores make all times
meaningless, two threads on a busy pair of cores worst of all (they wait for each other). `--threads 1` is robust.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
import torch.nn.functional as F
from rich.console import Console
from rich.table import Table
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from novanda import methods
from novanda.augment import NegativeAugmentation
from novanda.benchmark.cells import method_label
from novanda.benchmark.results import append_result
from novanda.benchmark.running import commit
from novanda.detector import Detector
from novanda.export import export
from novanda.exported import ExportedDetector
from novanda.method import Method
from novanda.neighbours import ComparisonAxes, nearest_at_places, nearest_distance
from novanda.samples import Normals, SampleSpec
from novanda.shift_ensemble import ShiftEnsemble
from novanda.sources import ArraySource
from novanda.training import Epoch, Training, has_fast_bf16, seeded, train

SPEC = SampleSpec("image", 3, 32, 32)
PACKAGES = (
    "novanda",
    "torch",
    "numpy",
    "scikit-learn",
    "lightning-fabric",
    "kornia",
    "onnxruntime",
    "soxr",
)
DTYPES = {"bf16": torch.bfloat16, "32": torch.float32}
CONVOLUTIONS = ((64, 32), (128, 16), (256, 8))
"""Channels and side of the 3 x 3 convolutions whose best rate is taken for the machine's peak; each costs the same."""
PATIENCE_SECONDS = 15.0
"""After this long no repetition is added: bfloat16 without hardware for it can be a hundred times slower."""

Precision = Literal["auto", "32"]
Epochs = Generator[Epoch, None, None]
PRECISIONS: tuple[Precision, ...] = ("auto", "32")


@dataclass(frozen=True)
class Sizes:
    """How much is measured; kept in the line, for rates depend on it."""

    batch_size: int = 128
    """Of training, augmentation and convolutions."""
    steps: int = 2
    """Training steps in a timed epoch."""
    repetitions: int = 5
    """Timed epochs after the one that warms up; also of scoring and convolutions."""
    augmentations: int = 30
    """Timed batches."""
    fitted: int = 512
    """Images on which the detectors that are scored with were fitted, for one epoch."""
    scored: int = 256
    """Images in a scored batch."""
    single: int = 60
    """Images scored one by one."""
    compared: int = 5_000
    """Images on which novanda's own method was fitted, for one epoch, to see what each of its pieces costs."""


QUICK = Sizes(batch_size=8, steps=1, repetitions=1, augmentations=2, fitted=64, scored=8, single=3, compared=64)
"""Only shows that everything runs: its figures mean nothing."""


# ---------------------------------------------------------------------------------------------------------------
# What is measured with


def structured_images(count: int, seed: int = 0) -> np.ndarray:
    """Smooth random colour fields with some grain, uint8 (N, 32, 32, 3): neither constant nor pure noise."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(count, 3, 5, 5, generator=generator)
    fields = F.interpolate(coarse, size=SPEC.shape[1:], mode="bilinear", align_corners=True)
    grain = 0.05 * torch.randn(fields.shape, generator=generator)
    values = ((fields + grain).clamp(0, 1) * 255).to(torch.uint8)
    return values.permute(0, 2, 3, 1).contiguous().numpy()


def _named(name: str) -> Method:
    """The one of `image_methods` that has this name."""
    return next(method for method in image_methods() if method.name == name)


# 72 views of each image by a WRN-10-4 would take longer than all the rest together.
SMALLER: dict[type[Method], Method] = {methods.Geometric: methods.Geometric(widening=1, dirichlet_samples=16)}


def image_methods() -> list[Method]:
    """Every method that takes these images, with its defaults but for those in `SMALLER`."""
    made = [SMALLER.get(kind) or kind() for kind in methods.METHODS]
    return [m for m in made if SPEC.kind in m.kinds and (m.sides is None or SPEC.height in m.sides)]


def learned_methods() -> list[Method]:
    """Those of `image_methods` that train a network."""
    return [method for method in image_methods() if method.stages(method.build(SPEC, QUICK.fitted), 1)]


def rounded(value: float) -> float:
    """To five significant digits, more than any timing has."""
    return float(f"{value:.5g}")


def spread(values: Sequence[float]) -> dict[str, float]:
    """Median, least and greatest, and of how many."""
    middle, least, most = (rounded(f(values)) for f in (statistics.median, min, max))
    return {"median": middle, "min": least, "max": most, "repetitions": len(values)}


def timings(works: Mapping[str, Callable[[], object]], repetitions: int) -> dict[str, list[float]]:
    """Seconds of each call of each work, the works taking turns; the first turn only warms up."""
    seconds: dict[str, list[float]] = {name: [] for name in works}
    began = time.perf_counter()
    for turn in range(repetitions + 1):
        for name, work in works.items():
            started = time.perf_counter()
            work()
            if turn > 0:
                seconds[name].append(time.perf_counter() - started)
        if turn > 0 and time.perf_counter() - began > PATIENCE_SECONDS:
            break
    return seconds


# ---------------------------------------------------------------------------------------------------------------
# The measurements


def convolution_rates(sizes: Sizes) -> dict[str, dict[tuple[int, int], list[float]]]:
    """TFLOP/s of each of `CONVOLUTIONS`, forward and backward, by precision."""
    rates: dict[str, dict[tuple[int, int], list[float]]] = {precision: {} for precision in DTYPES}
    for precision, dtype in DTYPES.items():
        for channels, side in CONVOLUTIONS:
            images, weight = (
                torch.randn(shape).to(dtype, memory_format=torch.channels_last).requires_grad_()
                for shape in ((sizes.batch_size, channels, side, side), (channels, channels, 3, 3))
            )
            upstream = torch.ones_like(images)

            def work(images: Tensor = images, weight: Tensor = weight, upstream: Tensor = upstream) -> object:
                return torch.autograd.grad(F.conv2d(images, weight, padding=1), (images, weight), upstream)

            # A multiply-add is two operations; the two gradients cost as much as the forward pass each.
            operations = 3 * 2 * images.numel() * channels * 9
            seconds = timings({"": work}, sizes.repetitions)[""]
            rates[precision][channels, side] = [operations / s / 1e12 for s in seconds]
    return rates


def convolution_peak(rates: Sequence[Mapping[tuple[int, int], Sequence[float]]]) -> dict[str, float]:
    """The best of several `convolution_rates` of one precision, and at which shape."""
    joined = {shape: [rate for each in rates for rate in each[shape]] for shape in CONVOLUTIONS}
    channels, side = max(joined, key=lambda shape: max(joined[shape]))
    best = joined[channels, side]
    return {"peak": rounded(max(best)), **spread(best), "channels": channels, "side": side}


def training_epochs(method: Method, images: np.ndarray, sizes: Sizes, precision: Precision) -> Epochs:
    """The library's own loop over a method's last stage, which is what a fit mostly spends its time in."""
    normals = Normals(ArraySource(images))
    epochs = 1 + sizes.repetitions
    with seeded(0):
        model = method.build(normals.spec, len(normals))
    training = Training(epochs=epochs, batch_size=sizes.batch_size, device="cpu", precision=precision)
    last = replace(method.stages(model, epochs)[-1], epochs=epochs)  # all of them, where a method divides them
    return train(model, (last,), normals, training.filled(method.training), seed=0)


DISTANCES = (torch.ops.aten._cdist_forward, torch.ops.aten._euclidean_dist)
"""What torch.cdist becomes for few rows, and for many."""


class Operations(TorchDispatchMode):  # type: ignore[no-untyped-call]  # PyTorch leaves this class untyped
    """Counts floating-point operations of convolutions, matrix products (by PyTorch's own table) and distances.

    PyTorch's FlopCounterMode does the same and follows modules besides, by hooks that fail where a loss asks for
    gradients of its own, as OCGAN's and DROCC's do.
    """

    def __init__(self) -> None:
        begin: Callable[[], None] = super().__init__  # which PyTorch leaves without annotations
        begin()
        self.total: int = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func._overloadpacket not in flop_registry:
            with self:  # without gradients some operations come whole, a linear layer among them
                parts = func.decompose(*args, **kwargs)
            if parts is not NotImplemented:
                return parts
        found = func(*args, **kwargs)
        if func._overloadpacket in DISTANCES:  # a subtraction and a square for each value of a pair
            self.total += 2 * args[0].shape[-1] * found.numel()
        if func._overloadpacket in flop_registry:
            self.total += int(flop_registry[func._overloadpacket](*args, **kwargs, out_val=found))
        return found


def walked(method: Method, count: int) -> int:
    """Images in an epoch of a method's last stage on `count`: some hold a few out, or walk few several times."""
    stage = method.stages(method.build(SPEC, count), 1)[-1]
    return count if stage.walked is None else len(stage.walked(count))


def step_operations(method: Method, sizes: Sizes) -> float:
    """Floating-point operations (twice the multiply-adds) of the networks for one batch, forward and backward."""
    epochs = training_epochs(method, structured_images(sizes.batch_size), sizes, "auto")
    next(epochs)  # a stage's beginning, such as a PCA, is no part of a step
    with Operations() as counter:
        next(epochs)
    return float(counter.total) * sizes.batch_size / walked(method, sizes.batch_size)


def training_speed(method: Method, sizes: Sizes) -> dict[str, Any]:
    """Images/s of whole training steps (reading, augmentation, networks, optimizer) and TFLOP/s, by precision."""
    images = structured_images(sizes.batch_size * sizes.steps)
    seconds: dict[Precision, list[float]] = {precision: [] for precision in PRECISIONS}
    runs = {precision: training_epochs(method, images, sizes, precision) for precision in PRECISIONS}
    for epoch in range(1 + sizes.repetitions):
        for precision, run in runs.items():
            finished = next(run)
            if epoch > 0:
                seconds[precision].append(finished.seconds)
    operations, seen = step_operations(method, sizes), walked(method, len(images))
    result: dict[str, Any] = {"step_gflop": rounded(operations / 1e9)}
    for precision, values in seconds.items():
        used = "bf16" if precision == "auto" and has_fast_bf16(torch.device("cpu")) else "32"
        rate = operations * seen / sizes.batch_size / statistics.median(values) / 1e12
        result[precision] = {
            "used": used,
            "images_per_second": spread([seen / s for s in values]),
            "tflops": rounded(rate),
        }
    return result


def augmentation_speed(sizes: Sizes) -> dict[str, Any]:
    """Images/s of M(x) and of the same list of transformations in kornia, and how many times faster M(x) is."""
    import kornia.augmentation as kornia  # seconds to import: not for the processes that measure memory

    ours, generator = NegativeAugmentation(), torch.Generator().manual_seed(0)
    theirs = kornia.AugmentationSequential(
        kornia.RandomResizedCrop(SPEC.shape[1:], scale=ours.crop_scale, ratio=ours.crop_ratio),
        kornia.RandomHorizontalFlip(ours.flip_probability),
        kornia.ColorJitter(ours.brightness, ours.contrast, ours.saturation, ours.hue, p=ours.jitter_probability),
        kornia.RandomRotation(ours.rotation_degrees, p=1.0),
        kornia.RandomGrayscale(p=ours.grayscale_probability),
        same_on_batch=False,
    )
    scaled = next(Normals(ArraySource(structured_images(sizes.batch_size))).batches())
    unit = (scaled + 1) / 2  # kornia's range is 0 to 1
    with torch.no_grad(), seeded(0):
        seconds = timings(
            {"novanda": lambda: ours(scaled, generator), "kornia": lambda: theirs(unit)}, sizes.augmentations
        )
    ratios = [other / own for own, other in zip(seconds["novanda"], seconds["kornia"], strict=True)]
    rates = {name: spread([sizes.batch_size / s for s in values]) for name, values in seconds.items()}
    return {"images_per_second": rates, "times_faster": spread(ratios)}


def fitted(method: Method, sizes: Sizes) -> Detector:
    """A detector after one epoch."""
    training = Training(epochs=1, batch_size=sizes.batch_size, device="cpu")
    return Detector(method, training, calibration_fraction=0.0).fit(structured_images(sizes.fitted))


def exported(detector: Detector) -> ExportedDetector:
    """The detector as ONNX Runtime scores it, with as many threads as torch."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "detector.onnx"
        export(detector, path)
        return ExportedDetector.load(path, threads=torch.get_num_threads())


def scoring_speed(detector: Detector | ExportedDetector, sizes: Sizes) -> dict[str, Any]:
    """Images/s in batches and milliseconds for one image, from raw pixels to score with all checks, in float32."""
    batch = structured_images(sizes.scored, seed=1)
    seconds = timings({"": lambda: detector.novelty_score(batch)}, sizes.repetitions)[""]
    single = iter(np.resize(batch, (sizes.single + 1, 1, *batch.shape[1:])))
    latency = timings({"": lambda: detector.novelty_score(next(single))}, sizes.single)[""]
    milliseconds = [1e3 * s for s in latency]
    return {
        "images_per_second": spread([len(batch) / s for s in seconds]),
        "latency_ms": {**spread(milliseconds), "percentile_95": rounded(float(np.percentile(milliseconds, 95)))},
    }


def network_size(detector: Detector) -> dict[str, int]:
    """Learned numbers, those that only training needs among them, and the multiply-adds of scoring one image."""
    images = next(Normals(ArraySource(structured_images(1, seed=1))).batches())
    with torch.inference_mode(), Operations() as counter:
        detector.method_.novelty(detector.model_, detector.reference_, images)
    return {
        "parameters": sum(p.numel() for p in detector.model_.parameters()),
        "scoring_multiply_adds": counter.total // 2,
    }


def novanda_pieces(sizes: Sizes) -> dict[str, dict[str, Any]]:
    """Multiply-adds and milliseconds for an image of each piece of novanda's own score, one side of the image, once."""
    detector = Detector(
        methods.Novanda(), Training(epochs=1, batch_size=sizes.batch_size, device="cpu"), calibration_fraction=0.0
    ).fit(structured_images(sizes.compared))
    ensemble, reference = detector.model_, detector.reference_
    assert isinstance(ensemble, ShiftEnsemble)
    assert ensemble.colors is not None
    images = next(Normals(ArraySource(structured_images(sizes.scored, seed=1)), batch_size=sizes.scored).batches())
    images = images.contiguous(memory_format=torch.channels_last)
    with torch.inference_mode():
        seen = ensemble.sight(images)

        def piece(name: str, compare: Callable[[Tensor, Tensor], Tensor]) -> Callable[[], object]:
            axes = ComparisonAxes(reference[f"{name}_mean"], reference[f"{name}_projection"])
            return lambda: compare(axes.describe(getattr(seen, name)), reference[f"{name}_bank"])

        works: dict[str, Callable[[], object]] = {
            "turns": partial(ensemble.nets()[0].levels, images),
            "colors": partial(ensemble.colors.lower_levels, images),
            "shape": piece("shape", nearest_distance),
            "parts": piece("parts", nearest_at_places),
            "texture": piece("texture", nearest_distance),
        }
        operations = {}
        for name, work in works.items():
            with Operations() as counter:
                work()
            operations[name] = counter.total
        seconds = timings(works, sizes.repetitions)
    rows = {name: reference[f"{name}_bank"].shape[-2] for name in ("shape", "parts", "texture")}
    return {
        name: {
            "multiply_adds": operations[name] // 2 // len(images),
            "milliseconds": spread([1e3 * s / len(images) for s in seconds[name]]),
            **({"normals": rows[name]} if name in rows else {}),
        }
        for name in works
    }


def bf16_differences(detector: Detector, sizes: Sizes) -> dict[str, dict[str, float]]:
    """How far scores move when the networks run under bf16 autocast: why scoring is always float32.

    For each score the greatest difference over the images: absolute, relative to the float32 score, and in standard
    deviations of the float32 scores, which says whether the order of images survives.
    """
    images = next(Normals(ArraySource(structured_images(sizes.scored, seed=1)), batch_size=sizes.scored).batches())
    images = images.contiguous(memory_format=torch.channels_last)

    def scores(mixed: bool) -> dict[str, Tensor]:
        with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=mixed):
            found = detector.method_.novelty(detector.model_, detector.reference_, images)
        return {name: values.double() for name, values in found.items()}

    exact, mixed = scores(False), scores(True)
    result = {}
    for name, values in exact.items():
        difference = (mixed[name] - values).abs()
        result[name] = {
            "absolute": rounded(difference.max().item()),
            "relative": rounded((difference / values.abs()).max().item()),
            "deviations": rounded((difference.max() / values.std()).item()),
        }
    return result


def peak_mib() -> float:
    """The most memory this process ever held, in MiB."""
    unit = 2**20 if platform.system() == "Darwin" else 2**10  # bytes there, KiB elsewhere
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit, 1)


def memory_here(name: str, sizes: Sizes) -> dict[str, float]:
    """Peak memory of this process before and after one epoch of a method's training."""
    images = structured_images(sizes.batch_size * sizes.steps)
    before = peak_mib()
    with closing(training_epochs(_named(name), images, sizes, "auto")) as epochs:
        next(epochs)
    return {"before": before, "peak": peak_mib()}


def memory_of_training(names: Sequence[str], quick: bool, threads: int | None) -> dict[str, dict[str, float]]:
    """`memory_here` of each method in a process of its own.

    To be called before anything large is held: on Linux a child's peak starts at what its parent held when starting it.
    """

    def measure(name: str) -> dict[str, float]:
        command = [sys.executable, __file__, "--memory-of", name]
        command += ["--quick"] * quick + ([] if threads is None else ["--threads", str(threads)])
        found: dict[str, float] = json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout)
        return found

    with ThreadPoolExecutor(2) as pool:  # memory, unlike time, is not disturbed by company
        return dict(zip(names, pool.map(measure, names), strict=True))


# ---------------------------------------------------------------------------------------------------------------
# The whole line


def machine() -> dict[str, Any]:
    """What the figures hold for; neither host names nor paths."""
    try:
        details = Path("/proc/cpuinfo").read_text()
    except OSError:
        details = ""
    lines = (line.partition(":") for line in details.splitlines())
    found = {key.strip(): value.strip() for key, _, value in lines}
    return {
        "system": platform.system(),
        "architecture": platform.machine(),
        "processor": found.get("model name") or platform.processor() or platform.machine(),
        "avx512_bf16": "avx512_bf16" in found.get("flags", "").split(),
        "fast_bf16": has_fast_bf16(torch.device("cpu")),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
    }


def measure_all(sizes: Sizes, quick: bool, threads: int | None, say: Callable[[str], None]) -> dict[str, Any]:
    """Every measurement, as one JSON object."""
    began, load = time.perf_counter(), os.getloadavg()[0]
    learned = learned_methods()
    say("memory")
    memory = memory_of_training([method.name for method in learned], quick, threads)
    # Measured before and after, so that a peak taken in a busy minute does not flatter the training.
    say("convolutions")
    rates = [convolution_rates(sizes)]
    training = {}
    for method in learned:
        say(f"training {method.name}")
        training[method.name] = training_speed(method, sizes)
    say("convolutions again")
    rates.append(convolution_rates(sizes))
    peaks = {precision: convolution_peak([each[precision] for each in rates]) for precision in DTYPES}
    for found in training.values():
        for precision in PRECISIONS:
            found[precision]["share_of_peak"] = rounded(
                found[precision]["tflops"] / peaks[found[precision]["used"]]["peak"]
            )
    say("augmentation")
    augmentation = augmentation_speed(sizes)
    scoring, scoring_exported, differences, networks = {}, {}, {}, {}
    for method in image_methods():
        say(f"scoring {method.name}")
        detector = fitted(method, sizes)
        networks[method.name] = network_size(detector)
        scoring[method.name] = scoring_speed(detector, sizes)
        scoring_exported[method.name] = scoring_speed(exported(detector), sizes)
        if method in learned:
            differences[method.name] = bf16_differences(detector, sizes)
    say("the pieces of novanda's own")
    pieces = novanda_pieces(sizes)
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": commit(),
        "quick": quick,
        "machine": machine(),
        "load_average": round(load, 2),
        "versions": {"python": platform.python_version(), **{package: version(package) for package in PACKAGES}},
        "sizes": {"sample": list(SPEC.shape), **asdict(sizes)},
        "settings": {method.name: method_label(method) for method in image_methods()},
        "convolution_tflops": peaks,
        "training": training,
        "memory_mib": memory,
        "networks": networks,
        "augmentation": augmentation,
        "scoring": scoring,
        "exported": scoring_exported,
        "novanda_pieces": pieces,
        "bf16_score_differences": differences,
        "seconds": rounded(time.perf_counter() - began),
    }


def table(line: Mapping[str, Any]) -> Table:
    """A result line for the eye."""
    here, sizes = line["machine"], line["sizes"]
    title = (
        f"{here['processor']}, {here['cores']} cores, {here['threads']} threads, load {line['load_average']}; "
        f"batch {sizes['batch_size']} of {sizes['sample']}"
    )
    made = Table("what", "unit", "median", "min", "max", "also", title=title)

    def row(what: str, unit: str, values: Mapping[str, float], also: str = "") -> None:
        made.add_row(what, unit, *(f"{values[key]:.4g}" for key in ("median", "min", "max")), also)

    for precision, values in line["convolution_tflops"].items():
        row(f"convolution {precision}", "TFLOP/s", values, f"{values['channels']} channels, side {values['side']}")
    for name, found in line["training"].items():
        for precision in PRECISIONS:
            values = found[precision]
            also = f"{values['used']}: {values['tflops']:.3f} TFLOP/s, {values['share_of_peak']:.0%} of the peak"
            row(f"training {name}, {precision}", "images/s", values["images_per_second"], also)
    for name, values in line["memory_mib"].items():
        made.add_row(
            f"memory {name}", "MiB", f"{values['peak']:.0f}", "", "", f"{values['before']:.0f} before training"
        )
    for name, values in line["augmentation"]["images_per_second"].items():
        row(f"augmentation {name}", "images/s", values)
    row("augmentation, novanda faster", "times", line["augmentation"]["times_faster"])
    for part in ("scoring", "exported"):
        for name, found in line[part].items():
            row(f"{part} {name}, batch {sizes['scored']}", "images/s", found["images_per_second"])
            latency = found["latency_ms"]
            row(f"{part} {name}, one image", "ms", latency, f"95th percentile {latency['percentile_95']:.4g}")
    for name, piece in line["novanda_pieces"].items():
        row(f"novanda's {name}, an image", "ms", piece["milliseconds"], f"{piece['multiply_adds']:,} multiply-adds")
    for name, scores in line["bf16_score_differences"].items():
        for score, values in scores.items():
            also = f"relative {values['relative']:.2g}, {values['deviations']:.2g} standard deviations"
            made.add_row(f"bf16 moves {name} {score}", "", "", "", f"{values['absolute']:.3g}", also)
    return made


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print, append."""
    parser = argparse.ArgumentParser(description="Speed and memory of novanda on this machine's CPU.")
    parser.add_argument(
        "--out", type=Path, default=Path(__file__).with_name("speed.jsonl"), help="file to add a line to"
    )
    parser.add_argument("--quick", action="store_true", help="only show that it runs; the figures mean nothing")
    parser.add_argument("--threads", type=int, help="of torch; left out, torch's own choice")
    parser.add_argument("--memory-of", help=argparse.SUPPRESS)  # how this file calls itself
    given = parser.parse_args(arguments)
    if given.threads is not None:
        if given.threads < 1:
            parser.error(f"--threads must be at least 1; got {given.threads}")
        torch.set_num_threads(given.threads)
    sizes = QUICK if given.quick else Sizes()
    if given.memory_of is not None:
        sys.stdout.write(json.dumps(memory_here(given.memory_of, sizes)))
        return 0
    progress = Console(stderr=True)
    line = measure_all(sizes, given.quick, given.threads, lambda what: progress.print(f"measuring {what}", style="dim"))
    append_result(given.out, line)
    # Wide even where there is no terminal, for a cut table is worse than a long line.
    console = Console() if sys.stdout.isatty() else Console(width=140)
    console.print(table(line))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
