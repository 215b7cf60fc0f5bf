"""Frozen features: distances by NumPy, a network trained here and brought back, what is refused."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from sklearn.neighbors import NearestNeighbors
from test_contract import made_normals, made_novel
from torch import Tensor, nn

from novanda.detector import Detector
from novanda.errors import InputError, ModelFileError
from novanda.methods import FrozenFeatures, RotNet
from novanda.metrics import auroc
from novanda.networks import make_network, register_network, registry
from novanda.training import Training


class Colours(nn.Module):
    """Features that a person can check: maps of a learned multiple of each colour, and of its square."""

    def __init__(self) -> None:
        super().__init__()
        self.factor = nn.Parameter(torch.ones(3, 1, 1))

    def forward(self, images: Tensor) -> Tensor:
        return torch.cat([images * self.factor, images.square()], 1)


@pytest.fixture(autouse=True)
def own_names(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_REGISTERED", {})


def fitted(method: FrozenFeatures, seed: int = 0) -> Detector:
    return Detector(method, seed=seed, calibration_fraction=0.0).fit(made_normals(0))


def embedded(detector: Detector, images: np.ndarray) -> np.ndarray:
    found = detector.embed(images)
    assert found is not None
    return found


def test_distances_by_scikit_learn() -> None:
    register_network("colours", Colours)
    detector = fitted(FrozenFeatures(network="colours", neighbours=3))

    def features(images: np.ndarray) -> np.ndarray:
        x = (images / 255 - np.array([0.485, 0.456, 0.406])) / np.array([0.229, 0.224, 0.225])
        return np.concatenate([x.mean((1, 2)), (x**2).mean((1, 2))], 1)

    normals, novel = features(made_normals(0)), features(made_novel(1))
    np.testing.assert_allclose(embedded(detector, made_novel(1)), novel, rtol=1e-4)
    near = NearestNeighbors(n_neighbors=3, metric="cosine").fit(normals).kneighbors(novel)[0].mean(1)
    found = detector.novelty_scores(made_novel(1))
    np.testing.assert_allclose(found["cosine"], near, atol=1e-5)
    standard = (normals - normals.mean(0)) / normals.std(0, ddof=1)
    values, axes = np.linalg.eigh(np.cov(standard.T))
    both = [((f - normals.mean(0)) / normals.std(0, ddof=1)) @ axes / values**0.25 for f in (normals, novel)]
    far = NearestNeighbors(n_neighbors=3).fit(both[0]).kneighbors(both[1])[0].mean(1)
    np.testing.assert_allclose(found["distance"], far, rtol=2e-3)


def test_a_network_trained_here_is_brought_back(tmp_path: Path) -> None:
    training = Training(epochs=2, batch_size=32, device="cpu", precision="32")
    trained = Detector(RotNet(width=32), training, calibration_fraction=0.0).fit(made_normals(0))
    state = {f"network.{name}": part.contiguous() for name, part in trained.model_.state_dict().items()}
    save_file(state, tmp_path / "turns.safetensors")
    method = FrozenFeatures(weights=str(tmp_path / "turns.safetensors"), mean=(0, 0, 0), deviation=(1, 1, 1))
    detector = fitted(method)
    assert not any(parameter.requires_grad for parameter in detector.model_.parameters())
    scores = [detector.novelty_score(images) for images in (made_normals(5, 40), made_novel(1, 40))]
    assert auroc(*scores) > 0.9
    detector.save(tmp_path / "d.novanda")
    (tmp_path / "turns.safetensors").unlink()
    again = Detector.load(tmp_path / "d.novanda")
    np.testing.assert_allclose(again.novelty_score(made_novel(1, 40)), scores[1], rtol=1e-5)


def test_grey_samples_are_seen_as_colours() -> None:
    register_network("colours", Colours)
    grey = made_normals(0)[..., :1]
    detector = Detector(FrozenFeatures(network="colours"), calibration_fraction=0.0).fit(grey)
    same = Detector(FrozenFeatures(network="colours"), calibration_fraction=0.0).fit(grey.repeat(3, 3))
    np.testing.assert_allclose(embedded(detector, grey), embedded(same, grey.repeat(3, 3)), rtol=1e-5)


def test_samples_are_resized_to_what_the_network_wants() -> None:
    seen = []

    class Watches(nn.Module):
        def forward(self, images: Tensor) -> Tensor:
            seen.append(tuple(images.shape[1:]))
            return images.flatten(2).mean(2)

    register_network("watches", Watches)
    fitted(FrozenFeatures(network="watches", side=64))
    assert set(seen) == {(3, 64, 64)}


def test_tokens_are_averaged() -> None:
    class Tokens(nn.Module):
        def forward(self, images: Tensor) -> Tensor:
            return images.flatten(2).transpose(1, 2)

    register_network("tokens", Tokens)
    register_network("colours", Colours)
    tokens, maps = fitted(FrozenFeatures(network="tokens")), fitted(FrozenFeatures(network="colours"))
    np.testing.assert_allclose(embedded(tokens, made_novel(1)), embedded(maps, made_novel(1))[:, :3], rtol=1e-4)


def test_weights_that_do_not_serve_are_refused(tmp_path: Path) -> None:
    register_network("colours", Colours)
    for name, content, said in (
        ("missing", None, "is not there"),
        ("pickled", b"\x80\x02}q\x00.", "never read"),
        ("other", {"weight": torch.ones(2)}, "factor missing or of another shape"),
        ("shape", {"factor": torch.ones(2)}, "factor missing or of another shape"),
    ):
        path = tmp_path / f"{name}.safetensors"
        if isinstance(content, bytes):
            path.write_bytes(content)
        elif content is not None:
            save_file(content, path)
        with pytest.raises(InputError, match=rf"FrozenFeatures.weights: .*{name}.*{said}"):
            fitted(FrozenFeatures(network="colours", weights=str(path)))
    with pytest.raises(InputError, match=r"FrozenFeatures.weights must be the path of a .safetensors file"):
        FrozenFeatures(weights="resnet.pth")


def test_a_classifiers_last_layer_is_left_aside(tmp_path: Path) -> None:
    register_network("colours", Colours)
    save_file({"factor": torch.full((3, 1, 1), 2.0), "head.weight": torch.ones(4)}, tmp_path / "w.safetensors")
    detector = fitted(FrozenFeatures(network="colours", weights=str(tmp_path / "w.safetensors")))
    assert (detector.model_.get_submodule("network").get_parameter("factor") == 2).all()


def test_a_detector_needs_its_network_to_be_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    register_network("colours", Colours)
    fitted(FrozenFeatures(network="colours")).save(tmp_path / "d.novanda")
    monkeypatch.setattr(registry, "_REGISTERED", {})
    with pytest.raises(ModelFileError, match=r"'colours'|register_network"):
        Detector.load(tmp_path / "d.novanda")
    with pytest.raises(InputError, match=r"FrozenFeatures.network must be .*register_network"):
        FrozenFeatures(network="colours")
    with pytest.raises(InputError, match="no network is known"):
        make_network("colours", 3)


def test_names_of_networks_are_checked() -> None:
    for name in ("", "residual", "hf-hub:some/thing"):
        with pytest.raises(InputError, match="a network's name"):
            register_network(name, Colours)


def test_timms_architectures_are_made_and_nothing_is_downloaded(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[tuple[str, dict[str, object]]] = []

    def create_model(name: str, **settings: object) -> nn.Module:
        made.append((name, settings))
        return Colours()

    # timm itself is not among the packages that tests need: this is its interface as documented.
    stub = SimpleNamespace(is_model=lambda name: name == "resnet18", create_model=create_model)
    monkeypatch.setitem(sys.modules, "timm", stub)
    assert np.isfinite(fitted(FrozenFeatures(network="timm:resnet18")).novelty_score(made_novel(1))).all()
    assert made[0] == ("resnet18", {"pretrained": False, "num_classes": 0})
    for name in ("hf-hub:evil/repository", "nonsense"):
        with pytest.raises(InputError, match="has no architecture"):
            make_network(f"timm:{name}", 3)
    monkeypatch.setitem(sys.modules, "timm", None)  # as Python marks a module that can not be imported
    with pytest.raises(InputError, match="pip install timm"):
        make_network("timm:resnet18", 3)
