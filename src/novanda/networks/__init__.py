"""Network architectures as plain modules. Letters: B batch, C channels, d latent dimensions, S local channels."""

from novanda.networks.autoregressive import AutoregressiveEstimator
from novanda.networks.dcgan import DCGAN_SIDES, DCGANDecoder, DCGANDiscriminator, DCGANEncoder, initialise_dcgan
from novanda.networks.estimators import GlobalEstimator, LocalEstimator, PriorEstimator, dense
from novanda.networks.layout import channels_last
from novanda.networks.lenet import LENET_HALVINGS, LeNet, lenet_block
from novanda.networks.modes import as_when_scoring, still_statistics
from novanda.networks.registry import is_known_network, known_networks, make_network, register_network
from novanda.networks.residual import PlaceNet, ResidualNet, WideResNet
from novanda.networks.tangents import image_and_jacobian, log_volume

__all__ = [
    "DCGAN_SIDES",
    "LENET_HALVINGS",
    "AutoregressiveEstimator",
    "DCGANDecoder",
    "DCGANDiscriminator",
    "DCGANEncoder",
    "GlobalEstimator",
    "LeNet",
    "LocalEstimator",
    "PlaceNet",
    "PriorEstimator",
    "ResidualNet",
    "WideResNet",
    "as_when_scoring",
    "channels_last",
    "dense",
    "image_and_jacobian",
    "initialise_dcgan",
    "is_known_network",
    "known_networks",
    "lenet_block",
    "log_volume",
    "make_network",
    "register_network",
    "still_statistics",
]
