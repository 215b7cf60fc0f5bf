"""Network architectures as plain modules. Letters: B batch, C channels, d latent dimensions, S local channels."""

from novanda.networks.autoregressive import AutoregressiveEstimator
from novanda.networks.dcgan import DCGAN_SIDES, DCGANDecoder, DCGANEncoder, initialise_dcgan
from novanda.networks.estimators import GlobalEstimator, LocalEstimator, PriorEstimator, dense
from novanda.networks.layout import channels_last
from novanda.networks.lenet import LENET_HALVINGS, LeNet, lenet_block
from novanda.networks.registry import is_known_network, known_networks, make_network, register_network
from novanda.networks.residual import ResidualNet, WideResNet

__all__ = [
    "DCGAN_SIDES",
    "LENET_HALVINGS",
    "AutoregressiveEstimator",
    "DCGANDecoder",
    "DCGANEncoder",
    "GlobalEstimator",
    "LeNet",
    "LocalEstimator",
    "PriorEstimator",
    "ResidualNet",
    "WideResNet",
    "channels_last",
    "dense",
    "initialise_dcgan",
    "is_known_network",
    "known_networks",
    "lenet_block",
    "make_network",
    "register_network",
]
