"""The row "CNN" of Table 6: an SVM on what a convolutional network sees in faces. Letter: n faces."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from novanda import losses, methods
from novanda.method import Batch, Player, Stage, parameters_of
from novanda.methods import FrozenFeatures
from novanda.networks import ResidualNet
from novanda.samples import Normals
from novanda.sources import ArraySource
from novanda.supervised.systems import Judge, svm
from novanda.supervised.windows import SIDE, Window
from novanda.training import resolve_device, seeded, train
from novanda.training_options import Training

Network = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class CnnSvm:
    """Features of a network from the first face of each window, and an SVM on them.

    The source (Yang, Lei and Li, "Learn Convolutional Neural Network for Face Anti-Spoofing", 2014) trains AlexNet on
    both sides, begun from ImageNet's weights, on faces at five scales. No weights come with novanda: without `frozen`
    a small residual net is trained from random weights to tell live faces from attacks, at one scale; with it, the
    network that the user brings serves as it is.

    Attributes:
        frozen: a network by its name and a file of weights; None: trained from scratch.
        training: of the residual net; what is left open: 10 epochs, AdamW 0.001, batch 128.
        width: of its first layer.
    """

    name: ClassVar[str] = "cnn"
    title: ClassVar[str] = "CNN"

    frozen: FrozenFeatures | None = None
    training: Training = Training()
    width: int = 16

    def settings(self) -> dict[str, Any]:
        """Which network, from where: a digest stands for the file of weights."""
        if self.frozen is None:
            training = {k: v for k, v in self._training().to_json().items() if k not in ("device", "precision")}
            return {"name": self.name, "network": "from scratch", "width": self.width, "training": training}
        weights = self.frozen.weights
        digest = hashlib.sha256(Path(weights).read_bytes()).hexdigest()[:16] if weights else "random"
        looks = {k: v for k, v in methods.to_json(self.frozen).items() if k in ("side", "mean", "deviation")}
        return {"name": self.name, "network": self.frozen.network, "weights": digest, **looks}

    def describe(self, window: Window) -> np.ndarray:
        """The first face itself: (3 * SIDE * SIDE,) uint8."""
        face: np.ndarray = window.faces[0].transpose(2, 0, 1).ravel()
        return face

    def learn(self, descriptions: np.ndarray, attack: np.ndarray, seed: int) -> Judge:
        """Train the network, where it is trained, then an SVM on its features of the same faces."""
        network = self._trained(descriptions, attack, seed) if self.frozen is None else self._brought(descriptions)

        def features(faces: np.ndarray) -> np.ndarray:
            with torch.inference_mode():
                found: np.ndarray = torch.cat([network(each).cpu() for each in self._faces(faces).batches()]).numpy()
            return found

        judge = svm(features(descriptions), attack)
        return lambda others: judge(features(others))

    def _training(self) -> Training:
        return self.training.filled(Training(epochs=10))

    def _faces(self, faces: np.ndarray) -> Normals:
        return Normals(ArraySource(faces.reshape(-1, 3, SIDE, SIDE)), device=resolve_device(self.training))

    def _trained(self, faces: np.ndarray, attack: np.ndarray, seed: int) -> Network:
        with seeded(seed):
            model = ResidualNet(3, classes=2, width=self.width)
        labels = torch.from_numpy(attack.astype(np.int64))

        def loss(batch: Batch) -> dict[str, Tensor]:
            images = batch.images
            mirrored = torch.rand(len(images), 1, 1, 1, generator=batch.generator).to(images.device) < 0.5
            logits = model(torch.where(mirrored, images.flip(3), images))
            return {"side": losses.classification_loss(logits, labels[batch.index].to(images.device))}

        training = self._training()
        assert training.epochs is not None  # it is filled
        stage = Stage("train", training.epochs, (Player("model", parameters_of(model), loss),))
        for _ in train(model, (stage,), self._faces(faces), training, seed):
            pass
        return model.features

    def _brought(self, faces: np.ndarray) -> Network:
        assert self.frozen is not None  # it is what was brought
        frozen, normals = self.frozen, self._faces(faces)
        model = frozen.build(normals.spec, len(normals)).to(normals.device).eval()
        with torch.inference_mode():
            frozen.reference(model, normals)  # reads the file of weights; what it keeps to compare with is not needed
        return lambda images: frozen.embed(model, {}, images)
