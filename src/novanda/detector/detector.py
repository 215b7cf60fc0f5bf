"""The Detector: the one stateful thing. It learns what normal looks like, and tells how far from it new samples are.

Signs follow scikit-learn: `score_samples` and `decision_function` are HIGHER for more NORMAL samples, `predict` gives
+1 for normal and -1 for novel. `novelty_score` is `score_samples` negated, the paper's abnormal score.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from sklearn.base import BaseEstimator, OutlierMixin
from sklearn.utils.validation import check_is_fitted, validate_data
from torch import Tensor, nn

from novanda import methods
from novanda.calibration import Calibration, required
from novanda.detector import files
from novanda.detector.training_data import check_source, fingerprint, form_of, is_tabular, is_whole, plain, split
from novanda.errors import DataError, InputError
from novanda.examples import Examples, kept
from novanda.heat import HeatScale, measured
from novanda.method import Method, Reference
from novanda.recordings import Aggregate, Form
from novanda.samples import Kind, Normals, RecordedSource, SampleSpec, Source
from novanda.scores import Scores, check_calibration, checked_scores, in_force, score_each_of
from novanda.sources import ArraySource, open_source
from novanda.timelines import SpanScore, Timeline, stream_of, timelines_of
from novanda.training import Epoch, Training, resolve_device, seeded, train

_SPLIT, _BUILD, _TRAIN, _EXPLAIN = 1, 2, 3, 4  # what a seed is used for, so that no two uses share random numbers


class Detector(OutlierMixin, BaseEstimator):  # type: ignore[misc]  # scikit-learn is untyped
    """Novelty detector: fit on normal samples only, then score, decide and give p-values.

    Args:
        method: what to learn and how to score; None is novanda's own, `methods.Novanda()`.
        training: how long and on what device; None, and every field left None, is the method's authors' choice.
        seed: of everything random; the same seed on the same machine gives the same detector.
        false_alarm_rate: share of normal samples that `predict` may flag, in (0, 1).
        calibration_fraction: share of the normals that is not trained on but sets the threshold, in [0, 1). With 0
            there is no threshold: `score_samples` works, `predict` and `p_value` raise CalibrationError.
        image_size: side in pixels to which images are resized; None keeps the images' own where the method can take it.
        keep_examples: how many of the training images to keep, at the detector's size, to show those that a new one is
            most like. They are saved with the detector: whoever has its file can look at them. 0 keeps none.
        recording: how recordings become samples, AudioForm() of sound or VideoForm() of video: `fit` then reads such
            files. Recordings are trained on or held out whole, and `calibration_fraction` is a share of them.

    Attributes after `fit`:
        spec_: what one sample looks like.
        calibration_: the held-out normals' scores and the asked rate; None with calibration_fraction = 0.
        sources_: calibrations of sources that have their own, such as one of several cameras, by their name.
        offset_: `decision_function` = `score_samples` - offset_; negative means novel.
        heat_: how much heat normals show in an explanation's map; None for features, and in files of older versions.
        examples_: the training images kept, drawn by the seed; None where none are.
        history_: one `Epoch` per pass over the data; empty for methods without gradients.
        training_count_: number of samples trained on.
        note_: sentences on what was read and changed (files chosen, images resized).
        skipped_: unreadable files that were left out, and why.
    """

    calibration_: Calibration | None
    sources_: dict[str, Calibration]
    heat_: HeatScale | None
    examples_: Examples | None
    offset_: float | None
    skipped_: dict[str, str]

    def __init__(
        self,
        method: Method | None = None,
        training: Training | None = None,
        *,
        seed: int = 0,
        false_alarm_rate: float = 0.05,
        calibration_fraction: float = 0.2,
        image_size: int | None = None,
        keep_examples: int = 256,
        recording: Form | None = None,
    ) -> None:
        self.method = method
        self.training = training
        self.seed = seed
        self.false_alarm_rate = false_alarm_rate
        self.calibration_fraction = calibration_fraction
        self.image_size = image_size
        self.keep_examples = keep_examples
        self.recording = recording

    # -----------------------------------------------------------------------------------------------------------
    # Learning

    def fit(self, X: Any, y: Any = None, **options: Any) -> Self:
        """Learn from normal samples; returns self.

        Args:
            X: (N, H, W, C) or (N, C, H, W) array or tensor, (N, H, W) gray, (N, F) features; a folder, a .npy or
                .npz file, a list of image or sound files; or a named set such as "cifar10:car" (see
                `sources.open_source`).
            y: ignored, as in scikit-learn.
            options: those of `fitting`.

        Raises: InputError, DataError, CalibrationError, TrainingError; each says what to do.
        """
        for _ in self.fitting(X, **options):
            pass
        return self

    def fitting(
        self,
        X: Any,
        *,
        kind: Kind | None = None,
        data_root: str | Path | None = None,
        flow_cache: Path | None = None,
        strict: bool = False,
        checkpoint: str | Path | None = None,
        resume: bool = False,
        progress: bool = False,
        begin: Callable[[int, int], None] | None = None,
    ) -> Iterator[Epoch]:
        """`fit`, one epoch at a time: yields every finished epoch, and is fitted when it ends.

        While an epoch is yielded, `novelty_scores` already works with the weights as they are; the threshold
        comes at the end.

        Args:
            X: as for `fit`.
            kind: what the samples are, where their shape does not say; of files "spectrogram" and "waveform" stand for
                sound, as AudioForm(content=...) makes it, and "flow" for video, unless `recording` says more.
            data_root: where named sets lie; None is the environment's NOVANDA_DATA.
            flow_cache: of video, a folder to keep flows in, so that the next run need not decode the same clips.
            strict: stop at the first broken file rather than skip it.
            checkpoint: file to save after every epoch. It is left at the end too: delete it once what came of
                the training is safe.
            resume: go on from `checkpoint` where it exists; of a finished run nothing is trained again.
            progress: show bars.
            begin: called once, when the samples are read and before anything is learned, with the number to learn
                from and the number held out.
        """
        method = self.method if self.method is not None else methods.Novanda()
        if not isinstance(method, Method):
            raise InputError(f"method must be one of novanda.methods, such as methods.Novanda(); got {method!r}")
        self._check_settings()
        training = (self.training or Training()).filled(method.usual_training())
        source = self._open(X, method, kind, data_root, flow_cache, strict, progress)
        generator = np.random.default_rng([self.seed, _SPLIT])
        learned, held_out = split(source, method, self.calibration_fraction, self.false_alarm_rate, generator)
        device = resolve_device(training)

        with seeded(self.seed, _BUILD):
            model = method.build(source.spec, len(learned))
        self._adopt(method, training, source.spec, model, len(learned), device)
        self.note_ = getattr(source, "note", "")
        self.skipped_ = {str(path): reason for path, reason in getattr(source, "broken", {}).items()}
        try:
            if begin is not None:
                begin(len(learned), len(held_out))
            yield from self._learn(
                source, learned, held_out, None if checkpoint is None else Path(checkpoint), resume, progress
            )
        except (Exception, KeyboardInterrupt):
            # Half a fit would score by weights that nobody trained, or fail in the middle of scoring.
            for name in [name for name in vars(self) if name.endswith("_")]:
                delattr(self, name)
            raise

    def _learn(
        self,
        source: Source,
        learned: np.ndarray,
        held_out: np.ndarray,
        path: Path | None,
        resume: bool,
        progress: bool,
    ) -> Iterator[Epoch]:
        """Train, compare and calibrate what `_adopt` has set up, yielding epochs."""
        method, training, model, device = self.method_, self.training_, self.model_, self.device_
        normals = Normals(source, learned, device=device)
        epochs = training.epochs
        assert epochs is not None
        stages = method.stages(model, epochs)
        if stages:
            seed = int(np.random.SeedSequence([self.seed, _TRAIN]).generate_state(1)[0])
            epochs_of = train(
                model,
                stages,
                normals,
                training,
                seed,
                checkpoint=path,
                resume=resume,
                identity=self._identity(source),
                progress=progress,
            )
            for epoch in epochs_of:
                self.history_.append(epoch)
                yield epoch
        model.to(device).eval()
        with torch.inference_mode():
            self.reference_.update({name: t.to(device) for name, t in method.reference(model, normals).items()})
        if len(held_out):
            novelty = next(iter(self._novelty(Normals(source, held_out, device=device)).values()))
            groups = None
            if isinstance(source, RecordedSource):
                groups = np.unique(source.recordings[held_out], return_inverse=True)[1]
            self.calibrate(Calibration(novelty, self.false_alarm_rate, recordings=groups))
        if source.spec.kind != "features":
            self._prepare_explanations(source, learned, held_out)

    def _prepare_explanations(self, source: Source, learned: np.ndarray, held_out: np.ndarray) -> None:
        """Measure what normals look like in an explanation, and keep some, while they are at hand."""
        generator = np.random.default_rng([self.seed, _EXPLAIN])
        learnt = self.method_, self.model_, self.reference_
        unseen = Normals(source, held_out if len(held_out) else learned, device=self.device_)
        self.heat_ = measured(*learnt, unseen, held_out=len(held_out) > 0, generator=generator)
        self.examples_ = kept(*learnt, source, learned, self.keep_examples, device=self.device_, generator=generator)

    def findings(self) -> list[str]:
        """What fitting found that a person should know, in sentences; often nothing."""
        check_is_fitted(self, "spec_")
        with torch.inference_mode():
            return self.method_.findings(self.model_, self.reference_)

    def measure_heat(self, unseen: Normals) -> Self:
        """Take the scale of explanations' maps from normals that the detector was not trained on; returns self."""
        check_is_fitted(self, "spec_")
        generator = np.random.default_rng([self.seed, _EXPLAIN])
        self.heat_ = measured(self.method_, self.model_, self.reference_, unseen, held_out=True, generator=generator)
        return self

    def calibrate(self, calibration: Calibration, source: str | None = None) -> Self:
        """Decide by this calibration from now on, without retraining; returns self.

        Args:
            calibration: the scores of normals that the detector was not trained on, and a rate.
            source: a name to keep it by, for samples of one source alone; None: for all others.
        """
        check_is_fitted(self, "spec_")
        check_calibration(calibration, source)
        if source is not None:
            self.sources_[source] = calibration
            return self
        self.calibration_ = calibration
        self.offset_ = -calibration.threshold
        return self

    def _open(
        self,
        X: Any,
        method: Method,
        kind: Kind | None,
        data_root: str | Path | None,
        flow_cache: Path | None,
        strict: bool,
        progress: bool,
    ) -> Source:
        if is_tabular(X):
            source: Source = ArraySource(validate_data(self, plain(X), dtype=np.float32, ensure_min_samples=2))
        else:
            source = open_source(
                X,
                purpose="fit",
                kind=kind,
                size=self.image_size,
                sides=method.sides,
                form=form_of(X, kind, self.recording),
                flow_cache=flow_cache,
                strict=strict,
                data_root=data_root,
                progress=progress,
            )
        check_source(source, method, self.recording)
        return source

    def _check_settings(self) -> None:
        """Refuse at once what would otherwise fail after reading, after training or only when saved."""
        if self.training is not None and not isinstance(self.training, Training):
            raise InputError(f"training must be a Training, such as Training(epochs=10); got {self.training!r}")
        if not is_whole(self.seed, least=0):
            raise InputError(f"seed must be a whole number of at least 0; got {self.seed!r}")
        if self.image_size is not None and not is_whole(self.image_size, least=1):
            raise InputError(f"image_size must be a whole number of pixels or None; got {self.image_size!r}")
        if not is_whole(self.keep_examples, least=0):
            raise InputError(f"keep_examples must be a whole number of at least 0; got {self.keep_examples!r}")
        if self.recording is not None and not isinstance(self.recording, Form):
            raise InputError(f"recording must be an AudioForm(), a VideoForm() or None; got {self.recording!r}")
        fraction = self.calibration_fraction
        if isinstance(fraction, bool) or not isinstance(fraction, int | float) or not 0 <= fraction < 1:
            raise InputError(f"calibration_fraction must lie in [0, 1); got {fraction!r}")
        required(self.false_alarm_rate)  # refuses what is no rate

    def _identity(self, source: Source) -> dict[str, Any]:
        """What must be the same in a resumed run: the experiment, and a fingerprint of the data."""
        return {
            "method": methods.to_json(self.method_),
            "training": self.training_.to_json(),
            "seed": self.seed,
            "calibration_fraction": self.calibration_fraction,
            "spec": self.spec_.to_json(),
            "data": fingerprint(source),
        }

    def _adopt(
        self, method: Method, training: Training, spec: SampleSpec, model: nn.Module, count: int, device: torch.device
    ) -> None:
        """Take on the state that fitting and loading share."""
        self.method_, self.training_, self.spec_ = method, training, spec
        self.model_, self.device_, self.training_count_ = model, device, count
        self.reference_: dict[str, Tensor] = {}
        self.history_: list[Epoch] = []
        self.calibration_ = None
        self.offset_ = None
        self.sources_ = {}
        self.heat_ = None
        self.examples_ = None
        self.note_ = ""
        self.skipped_ = {}
        if spec.kind == "features":
            self.n_features_in_ = spec.channels
        elif hasattr(self, "n_features_in_"):
            del self.n_features_in_  # of an earlier fit on a table

    # -----------------------------------------------------------------------------------------------------------
    # Scoring

    @property
    def method_name(self) -> str:
        """What the command line and result lines call the method."""
        check_is_fitted(self, "spec_")
        return self.method_.name

    def score_samples(self, X: Any) -> np.ndarray:
        """Normality of each sample, (N,) float64: HIGHER = MORE NORMAL. X as for `fit`, of the shape fitted on."""
        return -self.novelty_score(X)

    def novelty_score(self, X: Any) -> np.ndarray:
        """The method's headline novelty, (N,) float64: HIGHER = MORE NOVEL; neither clamped nor rescaled."""
        return next(iter(self.novelty_scores(X).values()))

    def novelty_scores(self, X: Any) -> dict[str, np.ndarray]:
        """Every score the method gives, headline first, each (N,) float64 with HIGHER = MORE NOVEL."""
        return self._novelty(Normals(self._open_new(X), device=self.device_))

    def decision_function(self, X: Any) -> np.ndarray:
        """`score_samples` - `offset_`, (N,): negative = novel at the asked false-alarm rate."""
        scores = self.score_samples(X)
        result: np.ndarray = scores + self.calibration().threshold
        return result

    def predict(self, X: Any) -> np.ndarray:
        """+1 for normal, -1 for novel at the asked false-alarm rate, (N,) int64."""
        return np.where(self.decision_function(X) < 0, -1, 1)

    def p_value(self, X: Any) -> np.ndarray:
        """Conformal p-value of "this sample is as normal as the held-out ones", (N,) in (0, 1]; small = novel."""
        novelty = self.novelty_score(X)
        return self.calibration().p_value(novelty)

    def reconstruct(self, X: Any) -> np.ndarray | None:
        """What the detector expected to see, (N, C, H, W) float32 in raw units; None where the method draws nothing."""
        check_is_fitted(self, "spec_")
        drawn = self._each_batch(X, self.method_.reconstruct)
        return None if drawn is None else self.spec_.unscale(drawn).numpy()

    def embed(self, X: Any) -> np.ndarray | None:
        """The features in which the method sees samples, (N, d) float32; None where it has only the samples."""
        check_is_fitted(self, "spec_")
        seen = self._each_batch(X, self.method_.embed)
        return None if seen is None else seen.float().numpy()

    def _each_batch(self, X: Any, function: Callable[[nn.Module, Reference, Tensor], Tensor | None]) -> Tensor | None:
        """What a function of the method gives for all samples, on the CPU; None where it gives nothing."""
        parts = []
        source = self._open_new(X)
        self.model_.eval()
        with torch.inference_mode():
            for images in Normals(source, device=self.device_).batches():
                part = function(self.model_, self.reference_, images)
                if part is None:
                    return None
                parts.append(part.cpu())
        return torch.cat(parts)

    def calibration(self, source: str | None = None) -> Calibration:
        """The calibration in force; CalibrationError where the detector was fitted without held-out normals.

        Args:
            source: of this source alone; InputError for one that has none. `predict` and `p_value` are by the
                calibration for all: for a source, give `novelty_score` to its calibration.
        """
        check_is_fitted(self, "spec_")
        return in_force(self.calibration_, self.sources_, source)

    def score_each(self, source: Source, batch_size: int = 64) -> Iterator[tuple[int, dict[str, float] | DataError]]:
        """Score a source sample by sample, in order: (position, scores headline first, or why it can not be read).

        A broken sample costs no other. Memory does not grow with the source.
        """
        check_is_fitted(self, "spec_")
        return score_each_of(source, self.score_batch, batch_size)

    def score_batch(self, raw: np.ndarray) -> Scores:
        """Every score of raw samples (B, C, H, W) of the detector's own shape, headline first, each (B,) float64.

        Raises InputError where the headline score is not finite.
        """
        return self._novelty_of(self.spec_.scale(torch.from_numpy(raw).to(self.device_)))

    def timelines(self, X: Any, aggregate: Aggregate = "max", source: str | None = None) -> Iterator[Timeline]:
        """Scores of recordings, of each segment and as a whole, one `Timeline` a recording, in order.

        Args:
            X: sound files, clips, or folders of them.
            aggregate: how the whole's score comes from its segments': "max", "mean" or "p95". Choose before you look:
                a way chosen for the p-values it gives makes them too small.
            source: decide by the calibration of this source, see `calibrate`.
        """
        calibration = self.calibration_ if source is None else self.calibration(source)
        return timelines_of(self._open_new(X), self.score_each, calibration, aggregate)

    def stream(self, chunks: Iterable[Any], rate: float) -> Iterator[SpanScore]:
        """Scores of segments of sound or frames that come in chunks, `rate` a second; see `timelines.stream_of`."""
        check_is_fitted(self, "spec_")
        return stream_of(chunks, rate, self.spec_.recording, self.score_batch, self.calibration_)

    def _open_new(self, X: Any) -> Source:
        check_is_fitted(self, "spec_")
        if is_tabular(X):
            if self.spec_.kind != "features":
                raise InputError(
                    f"expected {self.spec_.kind} samples of shape {self.spec_.shape}; got a table of features"
                )
            X = validate_data(self, plain(X), dtype=np.float32, reset=False)
        return open_source(X, purpose="score", spec=self.spec_)

    def _novelty(self, samples: Normals) -> dict[str, np.ndarray]:
        parts = [self._novelty_of(batch) for batch in samples.batches()]
        return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}

    def _novelty_of(self, images: Tensor) -> Scores:
        """Scores of one scaled batch, always in float32 and eval mode, as float64 on the CPU."""
        self.model_.eval()
        with torch.inference_mode():
            if images.dim() == 4:
                images = images.contiguous(memory_format=torch.channels_last)
            scores = self.method_.novelty(self.model_, self.reference_, images)
        return checked_scores({name: score.cpu().double().numpy() for name, score in scores.items()})

    # -----------------------------------------------------------------------------------------------------------
    # On disk

    def save(self, path: str | Path) -> None:
        """Write the fitted detector to one file: JSON and safetensors in a zip, nothing executable, atomically."""
        check_is_fitted(self, "spec_")
        files.write(self, Path(path))

    def save_calibration(self, path: str | Path, out: str | Path | None = None) -> None:
        """Write how this detector decides into the file that it was loaded from, or into a copy, atomically.

        The weights are copied byte for byte, and what a newer version put into the file stays.

        Args:
            path: the file that it was loaded from.
            out: where to write; None: the same file.
        """
        check_is_fitted(self, "spec_")
        files.write_decisions(self, Path(path), Path(path if out is None else out))

    @classmethod
    def load(cls, path: str | Path, device: str = "auto") -> Self:
        """Read a detector that `save` wrote; ModelFileError with the reason for a wrong, damaged or hostile file."""
        return files.read(cls, Path(path), device)
