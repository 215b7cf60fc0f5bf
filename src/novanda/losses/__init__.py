"""Objectives as pure functions, one per published equation.

Equation numbers are those of Chen et al., "Novelty Detection via Contrastive Learning with Negative Data
Augmentation", IJCAI 2021; where the paper is silent the docstring says which reading is taken. Letters: B batch,
C channels, H height, W width, d latent dimensions, S channels and h, w sides of a local feature map.

Every function computes in float32 at least (float64 stays float64), whatever half precision its inputs have and
whatever autocast is active: sums over thousands of pixels do not survive bfloat16. Tensors of unlike shapes, which
would broadcast into a wrong but finite number, raise InputError.
"""

from novanda.losses.adversarial import discriminator_loss, energy_discriminator_loss, fooling_loss
from novanda.losses.classification import classification_loss
from novanda.losses.contrastive import contrastive_loss
from novanda.losses.densities import binned_surprise, gaussian_divergence, gaussian_surprise
from novanda.losses.information import (
    InformationEstimator,
    batch_moments_prior_loss,
    cluster_information_loss,
    cluster_joint,
    global_information_loss,
    information_loss,
    latent_loss,
    local_information_loss,
    mutual_information_loss,
    pointwise_information,
    prior_loss,
    total_loss,
)
from novanda.losses.one_class import centre_distance, membership_loss
from novanda.losses.reconstruction import (
    PyramidWeighting,
    laplacian_pyramid,
    laplacian_pyramid_distance,
    laplacian_pyramid_loss,
    squared_error,
)

__all__ = [
    "InformationEstimator",
    "PyramidWeighting",
    "batch_moments_prior_loss",
    "binned_surprise",
    "centre_distance",
    "classification_loss",
    "cluster_information_loss",
    "cluster_joint",
    "contrastive_loss",
    "discriminator_loss",
    "energy_discriminator_loss",
    "fooling_loss",
    "gaussian_divergence",
    "gaussian_surprise",
    "global_information_loss",
    "information_loss",
    "laplacian_pyramid",
    "laplacian_pyramid_distance",
    "laplacian_pyramid_loss",
    "latent_loss",
    "local_information_loss",
    "membership_loss",
    "mutual_information_loss",
    "pointwise_information",
    "prior_loss",
    "squared_error",
    "total_loss",
]
