"""Every method novanda has, one file each. A new one needs its file and its name in `METHODS`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, fields, is_dataclass
from typing import Any, get_type_hints

from novanda.errors import InputError, ModelFileError
from novanda.method import Method
from novanda.methods.alocc import ALOCC
from novanda.methods.anogan import AnoGAN
from novanda.methods.auto_encoder import AutoEncoder
from novanda.methods.csi import CSI
from novanda.methods.dictionary import Dictionary
from novanda.methods.drocc import DROCC
from novanda.methods.dsvdd import DSVDD
from novanda.methods.dual_gan import DualGAN
from novanda.methods.flagship import Novanda
from novanda.methods.frozen_features import FrozenFeatures
from novanda.methods.geometric import Geometric
from novanda.methods.gpnd import GPND
from novanda.methods.iic import IIC
from novanda.methods.latent_autoregression import LatentAutoregression
from novanda.methods.nda import NDA
from novanda.methods.nearest_neighbour import NearestNeighbour
from novanda.methods.ocgan import OCGAN
from novanda.methods.ocsvm import OCSVM
from novanda.methods.pca import PCA
from novanda.methods.rot_trans import RotationTranslation
from novanda.methods.rotnet import RotNet
from novanda.methods.vae import VAE
from novanda.methods.waveform_auto_encoder import WaveformAutoEncoder
from novanda.methods.wavenet import WaveNet

METHODS: tuple[type[Method], ...] = (
    Novanda,
    NDA,
    PCA,
    NearestNeighbour,
    OCSVM,
    Dictionary,
    FrozenFeatures,
    AutoEncoder,
    VAE,
    DSVDD,
    RotNet,
    Geometric,
    DROCC,
    RotationTranslation,
    CSI,
    IIC,
    LatentAutoregression,
    ALOCC,
    OCGAN,
    DualGAN,
    GPND,
    AnoGAN,
    WaveNet,
    WaveformAutoEncoder,
)

__all__ = [
    "ALOCC",
    "CSI",
    "DROCC",
    "DSVDD",
    "GPND",
    "IIC",
    "METHODS",
    "NDA",
    "OCGAN",
    "OCSVM",
    "PCA",
    "VAE",
    "AnoGAN",
    "AutoEncoder",
    "Dictionary",
    "DualGAN",
    "FrozenFeatures",
    "Geometric",
    "LatentAutoregression",
    "NearestNeighbour",
    "Novanda",
    "RotNet",
    "RotationTranslation",
    "WaveNet",
    "WaveformAutoEncoder",
    "from_json",
    "get",
    "to_json",
]


def get(name: str) -> type[Method]:
    """The method of that name or alias; InputError listing all names."""
    for method in METHODS:
        if name in (method.name, *method.aliases):
            return method
    raise InputError(f"unknown method {name!r}; known: {', '.join(method.name for method in METHODS)}")


def to_json(method: Method) -> dict[str, Any]:
    """A method's name and hyper-parameters as a JSON object."""
    return {"name": method.name, **asdict(method)}


def from_json(content: Mapping[str, Any]) -> Method:
    """The method that `to_json` described; ModelFileError for unknown names, fields or values."""
    try:
        kind = get(content["name"])
        return _revive(kind, {key: value for key, value in content.items() if key != "name"})  # type: ignore[no-any-return]
    except (KeyError, TypeError, AttributeError, InputError) as error:
        raise ModelFileError(f"no method of this version: {error}") from error


def _revive(kind: Any, content: Mapping[str, Any]) -> Any:
    """A dataclass from JSON: every field present, none unknown, lists back to tuples, nested dataclasses revived."""
    names = {field.name for field in fields(kind)}
    if names != content.keys():
        raise InputError(f"{kind.__name__} has the fields {sorted(names)}; got {sorted(content)}")
    hints = get_type_hints(kind)
    values = {}
    for name, value in content.items():
        if is_dataclass(hints[name]):
            value = _revive(hints[name], value)
        elif isinstance(value, list):
            value = tuple(value)
        values[name] = value
    return kind(**values)
