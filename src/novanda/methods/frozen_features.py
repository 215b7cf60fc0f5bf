"""Distance to the nearest normals in the features of a network that somebody else trained."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

import torch
import torch.nn.functional as F
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from novanda.errors import InputError
from novanda.method import Method, Reference, headline_first, require
from novanda.neighbours import ComparisonAxes, comparison_axes, nearest_distance
from novanda.networks import channels_last, is_known_network, known_networks, make_network
from novanda.samples import Kind, Normals, SampleSpec, even_split


class FrozenNetwork(nn.Module):
    """A network that is never trained here, with what its input must look like."""

    mean: Tensor
    deviation: Tensor

    def __init__(self, method: FrozenFeatures, spec: SampleSpec) -> None:
        super().__init__()
        self.network, self.channels = make_network(method.network, spec.channels)
        self.network.requires_grad_(False)
        self.side = method.side
        plain = self.channels != 3
        self.register_buffer("mean", torch.zeros(1) if plain else torch.tensor(method.mean).view(3, 1, 1))
        self.register_buffer("deviation", torch.ones(1) if plain else torch.tensor(method.deviation).view(3, 1, 1))

    def forward(self, images: Tensor) -> Tensor:
        """Images (B, C, H, W) from -1 to 1 to features (B, F)."""
        if images.shape[1] == 1 and self.channels == 3:
            images = images.expand(-1, 3, -1, -1)
        if self.side is not None and images.shape[2:] != (self.side, self.side):
            images = F.interpolate(images, (self.side, self.side), mode="bilinear", antialias=False)
        found: Tensor = self.network(((images + 1) / 2 - self.mean) / self.deviation).float()
        if found.dim() == 4:
            return found.mean((2, 3))
        return found.mean(1) if found.dim() == 3 else found.flatten(1)


@dataclass(frozen=True, kw_only=True)
class FrozenFeatures(Method):
    """Distance to the nearest normals in the frozen features of a network that the user brings.

    A network that has learned from many other images sees what pixels do not show; its weights stay as they are, and a
    bank of the normals' features is all that is learned. Nothing is downloaded: the weights are a safetensors file on
    disk, or, without one, random, which is a baseline of its own.

    Novelty is the mean Euclidean distance to the k nearest normals along the features' principal axes, standardised and
    halfway whitened as in the patch dictionary ("distance"), or the mean of 1 - cosine to the k nearest ("cosine", as
    in PANDA, Reiss et al. 2021, without its fine-tuning). One pass of the network an image. Figures of pretrained
    networks belong in a table of their own: they have seen other data, often the very classes that are to be novel.

    When to use it: where a good pretrained network for such images exists and may be used: by published figures such
    features beat what is trained from scratch. Nothing of the kind was measured here, for no such network was at hand.
    The network's licence and what it was trained on are the user's to know.

    Attributes:
        network: "residual" (novanda's own small one), a name given to `networks.register_network`, or "timm:" with the
            name of one of timm's architectures.
        weights: a .safetensors file with the network's state; "": random weights. Read when fitting only; the
            detector's file holds them afterwards.
        side: images are resized to it, in pixels, before the network sees them; None: as they are.
        mean, deviation: of each colour on the scale from 0 to 1, as the network was trained with (ImageNet's).
        components: principal axes kept; clamped to what the normals allow.
        neighbours: k; clamped to the number of normals kept.
        bank: normals kept to compare with, at most; spaced evenly.
        score: the headline: "distance" or "cosine".
    """

    name: ClassVar[str] = "frozen_features"
    title: ClassVar[str] = "Frozen features"
    kinds: ClassVar[frozenset[Kind]] = frozenset({"image"})

    network: str = "residual"
    weights: str = ""
    side: int | None = None
    mean: tuple[float, float, float] = (0.485, 0.456, 0.406)
    deviation: tuple[float, float, float] = (0.229, 0.224, 0.225)
    components: int = 256
    neighbours: int = 5
    bank: int = 10_000
    score: Literal["distance", "cosine"] = "distance"

    def __post_init__(self) -> None:
        super().__post_init__()
        require(is_known_network(self.network), self, "network", f"the name of a network ({known_networks()})")
        fits = not self.weights or self.weights.endswith(".safetensors")
        require(fits, self, "weights", "the path of a .safetensors file, or empty")
        require(min(self.mean) >= 0 and max(self.mean) <= 1, self, "mean", "three numbers from 0 to 1")
        require(self.side is None or self.side >= 8, self, "side", "at least 8 pixels, or None")
        require(min(self.deviation) > 0, self, "deviation", "three numbers above 0")
        require(self.components >= 1, self, "components", "at least 1")
        require(self.neighbours >= 1, self, "neighbours", "at least 1")
        require(self.bank >= 2, self, "bank", "at least 2")

    def build(self, spec: SampleSpec, count: int) -> nn.Module:
        """The network with random weights; where a detector is loaded, its file then fills them in."""
        # Laid out as a loaded detector is: other kernels would give features other last digits.
        return channels_last(FrozenNetwork(self, spec))

    def reference(self, model: nn.Module, normals: Normals) -> dict[str, Tensor]:
        """The bank of features, as they are and along their principal axes."""
        # Here, not in `build`, which also runs where a saved detector is loaded and the user's file may be gone.
        if self.weights:
            _load_weights(model, Path(self.weights))
        index = torch.linspace(0, len(normals) - 1, min(len(normals), self.bank)).long()
        features = torch.cat([model(normals.take(each)).cpu() for each in even_split(index, normals.batch_size)])
        axes = comparison_axes(features, self.components)
        return {
            "feature_mean": axes.mean,
            "projection": axes.projection,
            "bank": axes.describe(features),
            "directions": F.normalize(features, dim=1),
        }

    def novelty(self, model: nn.Module, reference: Reference, images: Tensor) -> dict[str, Tensor]:
        """Both distances to the k nearest of the bank; higher = more novel."""
        features = model(images)
        axes = ComparisonAxes(reference["feature_mean"], reference["projection"])
        count = min(self.neighbours, reference["directions"].shape[0])
        cosines = F.normalize(features, dim=1) @ reference["directions"].T
        scores = {
            "distance": nearest_distance(axes.describe(features), reference["bank"], self.neighbours),
            "cosine": 1 - cosines.topk(count).values.mean(1),
        }
        return headline_first(scores, self.score)

    def embed(self, model: nn.Module, reference: Reference, images: Tensor) -> Tensor:
        """The network's features."""
        result: Tensor = model(images)
        return result


def _load_weights(model: nn.Module, path: Path) -> None:
    """Fill the frozen network from a safetensors file; InputError naming the file and what does not fit."""
    network = model.get_submodule("network")
    try:
        state = load_file(path)
    except FileNotFoundError as error:
        raise InputError(f"FrozenFeatures.weights: {path} is not there") from error
    except (SafetensorError, OSError) as error:
        raise InputError(
            f"FrozenFeatures.weights: {path} is no safetensors file ({error}). Pickled weights (.pt, .pth, .bin) are "
            "never read: load them where you trust them and write them with safetensors.torch.save_file"
        ) from error
    wanted = network.state_dict()
    wrong = sorted(name for name in wanted if name not in state or state[name].shape != wanted[name].shape)
    if wrong:
        shown = ", ".join(wrong[:3]) + (f" and {len(wrong) - 3} more" if len(wrong) > 3 else "")
        raise InputError(
            f"FrozenFeatures.weights: {path} does not fit the network: {shown} missing or of another shape"
        )
    # A classifier's last layer, say, may be there and is not wanted.
    network.load_state_dict({name: state[name] for name in wanted})
