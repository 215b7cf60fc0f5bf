"""An exported detector: the file that `export` writes, run by ONNX Runtime; no torch, training code or scikit-learn.

The file is one ONNX model. Its input `samples` is raw values, float32 (B, C, H, W); its outputs are the method's
scores, headline first, each (B,), and where the method draws what it expected, `error_map` (B, H, W). What novanda
must know beside the graph is JSON in entries of the model's metadata: `novanda` (schema, versions, method, samples,
what the parity check found), and apart from it, so that thresholds move without another export, `novanda.calibration`
and `novanda.sources`.

Signs are the Detector's: `score_samples` HIGHER = MORE NORMAL, `novelty_score` its negative.
"""

from __future__ import annotations

import importlib
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NoReturn, Self

import numpy as np

from novanda.calibration import Calibration
from novanda.checkpoint import written_atomically
from novanda.errors import DataError, InputError, ModelFileError
from novanda.recordings import Aggregate
from novanda.samples import SampleSpec, Source
from novanda.scores import Scores, check_calibration, checked_scores, in_force, score_each_of
from novanda.sources import open_source
from novanda.timelines import SpanScore, Timeline, stream_of, timelines_of

SCHEMA = 1
ABOUT, CALIBRATION, SOURCES = "novanda", "novanda.calibration", "novanda.sources"
"""The metadata entries."""
INPUT, ERROR_MAP = "samples", "error_map"
BATCH_SIZE = 256
_SMALL_SAMPLE = 2**20  # values; what a file may make `load` compute without a second thought

# The key without which a tensor can not refer to another file: the string "location" behind its length, 8, which
# protobuf lets a hostile writer pad. A gigabyte of weights holds these nine bytes by chance once in 10^12 files.
_EXTERNAL = re.compile(rb"(?:\x08|\x88\x80*\x00)location")


class ExportedDetector:
    """A fitted detector that `novanda export` made one ONNX file of; made by `load`.

    Attributes:
        spec_: what one sample looks like; of another size, images are resized as `Detector` does.
        calibration_: the held-out normals' scores and the asked rate; None where the detector had no threshold.
        sources_: calibrations of sources that have their own, by their name.
        offset_: `decision_function` = `score_samples` - offset_; None without a threshold.
        method_name: what the command line calls the method; its hyper-parameters are in `about`.
        score_names: what the scores are called, the headline first.
        about: the whole metadata: versions, training_count, parity.
    """

    def __init__(self, raw: bytes, name: str, threads: int | None = None) -> None:
        if threads is not None and (not isinstance(threads, int) or isinstance(threads, bool) or threads < 1):
            raise InputError(f"threads must be a whole number of at least 1, or None for all cores; got {threads!r}")
        self._raw = raw
        self._session = _session(raw, name, threads)
        try:
            entries = self._session.get_modelmeta().custom_metadata_map
            self.about = _read_about(entries)
            self.spec_ = SampleSpec.from_json(self.about["spec"])
            self.method_name: str = self.about["method"]["name"]
            self.score_names: tuple[str, ...] = tuple(self.about["scores"])
            _check_signature(self._session, self.spec_, [*self.score_names, *[ERROR_MAP] * self.about[ERROR_MAP]])
            self.training_count_: int = self.about["training_count"]
            self.calibration_: Calibration | None = None
            self.offset_: float | None = None
            self.sources_: dict[str, Calibration] = {}
            stored = _json(entries[CALIBRATION])
            if stored is not None:
                self.calibrate(Calibration.from_json(stored))
            for source, one in _json(entries.get(SOURCES, "{}")).items():
                self.calibrate(Calibration.from_json(one), source)
            self._try_shapes()
        except ModelFileError as error:
            raise ModelFileError(f"{name}: {error}") from error
        except (KeyError, TypeError, AttributeError, ValueError, RecursionError, InputError) as error:
            raise ModelFileError(f"{name} is damaged or was not exported by novanda: {error!r}") from error

    @classmethod
    def load(cls, path: str | Path, threads: int | None = None) -> Self:
        """Read an exported file.

        Args:
            path: what `novanda export` wrote.
            threads: of ONNX Runtime; None: as many as cores.

        Raises:
            ModelFileError: with the reason for a wrong, damaged or hostile file. No other file is ever read for it.
            InputError: onnxruntime is not installed.
        """
        if Path(path).is_dir():
            raise ModelFileError(f"{path} is a folder; expected a file that novanda exported")
        try:
            raw = Path(path).read_bytes()
        except OSError as error:
            raise ModelFileError(f"{path} can not be read: {error.strerror or error}") from error
        return cls(raw, str(path), threads)

    # -----------------------------------------------------------------------------------------------------------
    # Scoring: names, signs and shapes are those of Detector

    def score_samples(self, X: Any) -> np.ndarray:
        """Normality of each sample, (N,) float64: HIGHER = MORE NORMAL. X as for `Detector.score_samples`."""
        return -self.novelty_score(X)

    def novelty_score(self, X: Any) -> np.ndarray:
        """The method's headline novelty, (N,) float64: HIGHER = MORE NOVEL; neither clamped nor rescaled."""
        return self.novelty_scores(X)[self.score_names[0]]

    def novelty_scores(self, X: Any) -> Scores:
        """Every score the method gives, headline first, each (N,) float64 with HIGHER = MORE NOVEL."""
        parts = [self.score_batch(raw) for raw in self._batches(X)]
        return {name: np.concatenate([part[name] for part in parts]) for name in self.score_names}

    def decision_function(self, X: Any) -> np.ndarray:
        """`score_samples` - `offset_`, (N,): negative = novel at the asked false-alarm rate."""
        result: np.ndarray = self.score_samples(X) + self.calibration().threshold
        return result

    def predict(self, X: Any) -> np.ndarray:
        """+1 for normal, -1 for novel at the asked false-alarm rate, (N,) int64."""
        return np.where(self.decision_function(X) < 0, -1, 1)

    def p_value(self, X: Any) -> np.ndarray:
        """Conformal p-value of "this sample is as normal as the held-out ones", (N,) in (0, 1]; small = novel."""
        return self.calibration().p_value(self.novelty_score(X))

    def error_map(self, X: Any) -> np.ndarray | None:
        """|sample - what was expected| in raw units, mean over channels: (N, H, W) float32; None: nothing is drawn."""
        if not self.about[ERROR_MAP]:
            return None
        return np.concatenate([self.run([ERROR_MAP], raw)[0] for raw in self._batches(X)])

    def score_each(self, source: Source, batch_size: int = 64) -> Iterator[tuple[int, dict[str, float] | DataError]]:
        """Score a source sample by sample, in order: (position, scores headline first, or why it can not be read).

        A broken sample costs no other. Memory does not grow with the source.
        """
        return score_each_of(source, self.score_batch, batch_size)

    def score_batch(self, raw: np.ndarray) -> Scores:
        """Every score of raw samples (B, C, H, W), each (B,) float64; images of another size are resized by the graph.

        Raises InputError where the headline score is not finite.
        """
        return checked_scores(dict(zip(self.score_names, self.run(list(self.score_names), raw), strict=True)))

    def timelines(self, X: Any, aggregate: Aggregate = "max", source: str | None = None) -> Iterator[Timeline]:
        """Scores of recordings, of each segment and as a whole; as `Detector.timelines`."""
        samples = open_source(X, purpose="score", spec=self.spec_)
        calibration = self.calibration_ if source is None else self.calibration(source)
        return timelines_of(samples, self.score_each, calibration, aggregate)

    def stream(self, chunks: Iterable[Any], rate: float) -> Iterator[SpanScore]:
        """Scores of segments of sound or frames that come in chunks; as `Detector.stream`."""
        return stream_of(chunks, rate, self.spec_.recording, self.score_batch, self.calibration_)

    def _batches(self, X: Any) -> Iterator[np.ndarray]:
        source = open_source(X, purpose="score", spec=self.spec_)
        for start in range(0, len(source), BATCH_SIZE):
            yield source.read(list(range(start, min(start + BATCH_SIZE, len(source)))))

    def run(self, outputs: list[str], raw: np.ndarray) -> list[np.ndarray]:
        """The named outputs of the graph, unchecked, for raw samples (B, C, H, W)."""
        found: list[np.ndarray] = self._session.run(outputs, {INPUT: np.ascontiguousarray(raw, dtype=np.float32)})
        return found

    def _try_shapes(self) -> None:
        """Score two samples, so that what does not fit shows now and not in the middle of somebody's scoring run."""
        if self.spec_.size > _SMALL_SAMPLE:
            return
        samples = np.full((2, *self.spec_.shape), self.spec_.low, dtype=np.float32)
        names = [output.name for output in self._session.get_outputs()]
        try:
            found = dict(zip(names, self.run(names, samples), strict=True))
        except Exception as error:  # ONNX Runtime's errors have no parent but Exception
            reason = _first_line(error)
            raise ModelFileError(f"its graph fails on two samples of {self.spec_.shape}: {reason}") from error
        for name, values in found.items():
            wanted = (2, self.spec_.height, self.spec_.width) if name == ERROR_MAP else (2,)
            if values.shape != wanted:
                raise ModelFileError(f"its output {name} is {values.shape} for two samples; expected {wanted}")

    # -----------------------------------------------------------------------------------------------------------
    # The threshold

    def calibration(self, source: str | None = None) -> Calibration:
        """The calibration in force, for all samples or of one source; errors as those of `Detector.calibration`."""
        return in_force(self.calibration_, self.sources_, source)

    def calibrate(self, calibration: Calibration, source: str | None = None) -> Self:
        """Decide by this calibration from now on, all samples or one source's; returns self. `save` writes it."""
        check_calibration(calibration, source)
        if source is not None:
            self.sources_[source] = calibration
            return self
        self.calibration_ = calibration
        self.offset_ = -calibration.threshold
        return self

    def save(self, path: str | Path) -> None:
        """Write the file again with the calibrations in force, atomically: same graph, same weights, no torch.

        Raises InputError where the package onnx is not installed.
        """
        model = needed_package("onnx").load_model_from_string(self._raw)
        changed = calibration_entries(self.calibration_, self.sources_)
        for entry in model.metadata_props:
            entry.value = changed.pop(entry.key, entry.value)
        for key, value in changed.items():
            model.metadata_props.add(key=key, value=value)
        raw: bytes = model.SerializeToString()
        with written_atomically(Path(path)) as file:
            file.write(raw)
        self._raw = raw

    def save_calibration(self, path: str | Path, out: str | Path | None = None) -> None:
        """`save` to the file that it was loaded from, or to `out`; what `Detector.save_calibration` does."""
        self.save(path if out is None else out)


def is_exported(path: str | Path) -> bool:
    """Whether a file is to be read as an exported one: by how it begins, and by its name where that tells nothing.

    An ONNX file begins with its version, a protobuf field whose tag is 8; a detector's zip with "PK".
    """
    try:
        with Path(path).open("rb") as file:
            begin = file.read(2)
    except OSError:
        begin = b""
    return begin[:1] == b"\x08" or (begin != b"PK" and Path(path).suffix.lower() == ".onnx")


def calibration_entries(calibration: Calibration | None, sources: Mapping[str, Calibration]) -> dict[str, str]:
    """The entries of the metadata that hold thresholds."""
    own = None if calibration is None else calibration.to_json()
    others = {name: each.to_json() for name, each in sources.items()}
    return {CALIBRATION: json.dumps(own, allow_nan=False), SOURCES: json.dumps(others, allow_nan=False)}


def needed_package(name: str) -> Any:
    """A package of the extra `export`; InputError that says how to get it where it is not installed."""
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        raise InputError(
            f"this needs the package {error.name}, which is not installed; pip install {error.name}, "
            "or pip install 'novanda[export]' for all that exporting takes"
        ) from error


def _session(raw: bytes, name: str, threads: int | None) -> Any:
    """ONNX Runtime on these bytes; ModelFileError for what it can not run and for what would read other files."""
    if _EXTERNAL.search(raw):
        raise ModelFileError(f"{name} keeps values in other files, which are never read; export the detector again")
    runtime = needed_package("onnxruntime")
    options = runtime.SessionOptions()
    options.log_severity_level = 4  # what fails is raised; ONNX Runtime would also write it to standard error
    # Its own format is told from ONNX by its content, and is none that was checked here.
    options.add_session_config_entry("session.load_model_format", "ONNX")
    if threads is not None:
        options.intra_op_num_threads = threads
    try:
        return runtime.InferenceSession(raw, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # ONNX Runtime's errors have no parent but Exception
        raise ModelFileError(f"{name} is no ONNX file, or it is damaged: {_first_line(error)}") from error


def _read_about(entries: Mapping[str, str]) -> dict[str, Any]:
    """The metadata entry `novanda`, its types checked."""
    missing = sorted({ABOUT, CALIBRATION} - entries.keys())
    if missing:
        raise ModelFileError(f"it has no metadata {missing[0]!r}: it was not exported by novanda")
    about = _json(entries[ABOUT])
    schema = about.get("schema")
    if schema != SCHEMA:
        raise ModelFileError(
            f"it has schema {schema!r}; this version of novanda reads {SCHEMA}. Update novanda, or export it again"
        )
    sides = [about["spec"][name] for name in ("channels", "height", "width")]
    scores = about["scores"]
    if not (
        all(type(value) is int for value in (*sides, about["training_count"]))
        and isinstance(about[ERROR_MAP], bool)
        and isinstance(about["method"]["name"], str)
        and isinstance(scores, list)
        and scores
        and all(isinstance(score, str) for score in scores)
    ):
        raise ModelFileError("its metadata are damaged; export the detector again")
    return dict(about)


def _check_signature(session: Any, spec: SampleSpec, outputs: list[str]) -> None:
    """Refuse a graph whose input and outputs are not those that its metadata tell of."""
    found = [output.name for output in session.get_outputs()]
    if found != outputs:
        raise ModelFileError(f"its outputs are {found}; by its metadata they are {outputs}")
    inputs = [(value.name, value.type, list(value.shape)) for value in session.get_inputs()]
    sides = ["height", "width"] if spec.kind == "image" else [spec.height, spec.width]
    wanted = [(INPUT, "tensor(float)", ["batch", spec.channels, *sides])]
    if inputs != wanted:
        raise ModelFileError(f"its inputs are {inputs}; expected {wanted}")


def _json(text: str) -> Any:
    return json.loads(text, parse_constant=_refuse_constant)


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
