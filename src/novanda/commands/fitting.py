"""`novanda fit`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

from novanda.commands.terminal import (
    DEFAULT_METHOD,
    DataRoot,
    Photos,
    argument,
    check_flow_cache,
    check_writable,
    data_named,
    on_terminal,
    say,
    value_of,
)
from novanda.errors import InputError, Interrupted
from novanda.recordings import AudioForm, Form, VideoForm
from novanda.training_options import Training

if TYPE_CHECKING:
    from novanda.detector import Detector
    from novanda.method import Method


def fit(photos: Photos, out: Path) -> int:
    """Learn what normal looks like from a folder of normal images, an array file or a named set."""
    raise AssertionError("replaced by fit_command, which knows the method's own flags")


def fit_command(given: Sequence[str]) -> Callable[..., int]:
    """`fit` with the flags of the method that --method names, and with its authors' training as the default."""
    from novanda import methods

    chosen = methods.get(value_of("--method", given) or DEFAULT_METHOD)
    default = _with_preset(chosen, given)
    default_training = Training().filled(default.usual_training())
    names = Literal[tuple(method.name for method in methods.METHODS)]  # type: ignore[valid-type]  # made at run time

    def fit(
        photos: Photos,
        out: Annotated[Path, tyro.conf.arg(metavar="FILE")],
        method: Any = chosen.name,
        kind: Literal["image", "audio", "video"] = "image",
        false_alarm_rate: float = 0.05,
        calibration_fraction: float = 0.2,
        image_size: Annotated[int | None, argument(metavar="PIXELS")] = None,
        keep_examples: int = 256,
        seed: int = 0,
        strict: bool = False,
        resume: bool = False,
        data_root: DataRoot = None,
        training: Training = default_training,
        flow_cache: Annotated[Path | None, argument(metavar="FOLDER")] = None,
        audio: AudioForm = AudioForm(),
        video: VideoForm = VideoForm(),
        settings: Any = default,
    ) -> int:
        """Learn what normal looks like from a folder of normal images, sounds or clips, an array file or a named set.

        The flags below --method's own are those of the method it names: `novanda fit --method pca --help`.

        Args:
            photos: folders and image files (or sound files, or clips), one .npy or .npz file, or a named set such as
                cifar10:car.
            out: where the fitted detector is written.
            method: what learns; `novanda list methods` shows them.
            kind: what files are read: images; sounds, which are cut into segments; or videos and folders of frames, of
                which the motion from frame to frame is taken.
            false_alarm_rate: share of normal images that may be flagged; 0.01 needs 99 held-out normals.
            calibration_fraction: share of the images (or of the recordings, each whole) held out of training to set
                the threshold; 0 sets none.
            image_size: side to which images are resized; otherwise their own, up to 64, where the method can take it.
            keep_examples: how many of the images to keep inside FILE, small, for `novanda explain` to show; 0 keeps
                none: whoever has the file can look at them.
            seed: of everything random.
            strict: stop at the first broken file instead of skipping it.
            resume: go on with a run that was stopped, from FILE.checkpoint.
            data_root: folder of the named sets; otherwise the environment's NOVANDA_DATA.
            training: unless given, as the method's authors do it.
            flow_cache: with --kind video, folder to keep the motion of clips in, so that it is not computed again.
            audio: with --kind audio, how sound becomes samples; the file remembers it.
            video: with --kind video, how clips become samples; the file remembers it.
            settings: the method's hyper-parameters.
        """
        from novanda.detector import Detector

        forms: dict[str, Form] = {"audio": audio, "video": video}
        for medium, form in forms.items():
            if kind != medium and form != type(form)():
                raise InputError(f"--{medium}'s settings are of {medium}; give --kind {medium}")
        check_flow_cache(flow_cache, forms.get(kind))
        detector = Detector(
            settings,
            training,
            seed=seed,
            false_alarm_rate=false_alarm_rate,
            calibration_fraction=calibration_fraction,
            image_size=image_size,
            keep_examples=keep_examples,
            recording=forms.get(kind),
        )
        reading = {"strict": strict, "data_root": data_root, "flow_cache": flow_cache}
        return _fit(detector, photos, out, resume=resume, reading=reading)

    fit.__annotations__["method"] = names
    fit.__annotations__["settings"] = Annotated[chosen, tyro.conf.arg(name=chosen.name)]
    return fit


def _with_preset(chosen: type[Method], given: Sequence[str]) -> Method:
    """The method with the preset that the command line gives it, for that decides how long it trains by default."""
    preset = value_of(f"--{chosen.name}.preset", given)
    if preset is None or "preset" not in {each.name for each in fields(chosen)}:
        return chosen()
    settings: dict[str, Any] = {"preset": preset}
    try:
        return chosen(**settings)
    except InputError:  # the parser tells what the presets are
        return chosen()


def _fit(detector: Detector, photos: tuple[str, ...], out: Path, *, resume: bool, reading: dict[str, Any]) -> int:
    check_writable(out)
    checkpoint = out.with_name(out.name + ".checkpoint")
    if checkpoint.exists() and not resume:  # said before the images are read, and even if no epochs are to come
        raise InputError(
            f"{checkpoint} keeps an unfinished run; go on with it (--resume), or delete it to start afresh"
        )
    if checkpoint.exists():
        say(f"going on from {checkpoint}")

    def announce(learned: int, held_out: int) -> None:
        for line in _plan(detector, learned, held_out):
            say(line)

    try:
        epochs = detector.fitting(
            data_named(photos),
            **reading,
            checkpoint=checkpoint,
            resume=resume,
            progress=on_terminal(),
            begin=announce,
        )
        for epoch in epochs:
            if not on_terminal() and (epoch.number in (1, epoch.total) or epoch.number % -(-epoch.total // 20) == 0):
                terms = ", ".join(f"{name} {value:.4g}" for name, value in epoch.terms.items())
                say(f"epoch {epoch.number} of {epoch.total} ({epoch.seconds:.1f} s): {terms}")
        detector.save(out)
    except KeyboardInterrupt:  # outside an epoch, where training itself does not say what is kept
        if not checkpoint.exists():
            raise
        raise Interrupted(f"stopped. What was learned is kept in {checkpoint}; add --resume to go on") from None
    if detector.history_:
        checkpoint.unlink(missing_ok=True)
    for finding in detector.findings():
        say(finding)
    if detector.calibration_ is not None:
        what = "normals" if detector.calibration_.recordings is None else "recordings"
        say(
            f"threshold {detector.calibration_.threshold:.6g} on novelty, set by {len(detector.calibration_)} held-out "
            f"{what} for a false-alarm rate of {detector.false_alarm_rate:g}"
        )
    if detector.examples_ is not None:
        say(
            f"the file keeps {len(detector.examples_)} of the training images, small, for `novanda explain`; "
            "--keep-examples 0 keeps none"
        )
    say(f"written to {out}")
    return 0


def _plan(detector: Detector, learned: int, held_out: int) -> Iterator[str]:
    """What `fit` is about to do, for a person to stop it in time."""
    method, training, spec = detector.method_, detector.training_, detector.spec_
    for path, reason in detector.skipped_.items():
        yield f"skipped {path}: {reason}"
    if detector.skipped_:
        yield f"{len(detector.skipped_)} unreadable files skipped"
    if detector.note_:
        yield detector.note_
    size = " x ".join(map(str, (spec.height, spec.width, spec.channels)))
    held = f", {held_out} more held out to set the threshold" if held_out else "; none held out, so no threshold"
    yield f"{method.title}: learning from {learned} samples of {size}{held}"
    # `fit` has filled what was left open.
    assert training.epochs is not None
    assert training.batch_size is not None
    epochs = sum(stage.epochs for stage in method.stages(detector.model_, training.epochs))
    if epochs:
        yield (
            f"training for {epochs} epochs in batches of {min(training.batch_size, learned)} by {training.optimizer} "
            f"at learning rate {training.learning_rate:g} on {detector.device_}"
        )
