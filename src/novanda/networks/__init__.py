"""Network architectures as plain modules. Letters: B batch, C channels, d latent dimensions, S local channels."""

from novanda.networks.dcgan import DCGAN_SIDES, DCGANDecoder, DCGANEncoder, initialise_dcgan
from novanda.networks.estimators import GlobalEstimator, LocalEstimator, PriorEstimator, dense
from novanda.networks.layout import channels_last
from novanda.networks.registry import is_known_network, known_networks, make_network, register_network
from novanda.networks.residual import ResidualNet, WideResNet

__all__ = [
    "DCGAN_SIDES",
    "DCGANDecoder",
    "DCGANEncoder",
    "GlobalEstimator",
    "LocalEstimator",
    "PriorEstimator",
    "ResidualNet",
    "WideResNet",
    "channels_last",
    "dense",
    "initialise_dcgan",
    "is_known_network",
    "known_networks",
    "make_network",
    "register_network",
]
