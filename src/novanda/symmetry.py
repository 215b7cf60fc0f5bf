"""Whether a mirrored normal still looks like a normal: a photo's mostly does, a digit, a shoe or a part does not."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from novanda.augment import mirror
from novanda.neighbours import nearest_distance
from novanda.samples import Normals, even_split

_SIDE = 32  # pixels to which samples are averaged down before they are compared
_MOST = 2_000  # normals compared with
_FARTHER = 0.6  # of the mirrored that must be farther from normals than the sample itself
_SURE = 1.96  # standard errors: 95 % two-sided


def mirroring_shows(normals: Normals, bank: Tensor, asked: Tensor) -> bool:
    """Whether pixels tell a mirrored normal from a normal.

    Each sample asked about is compared, as it is and mirrored left to right, with its nearest normal. Mirroring shows
    where the mirrored one is the farther of the two in surely more than six of ten samples: the lower end of Wilson's
    95 % interval lies above 0.6. At one half the two are alike; pictures of animals lie a little above it, for they are
    taken from one side a little more often, and that must not count.

    Args:
        normals: of any kind that `mirror` knows.
        bank: places of the normals to compare with; at most 2,000 of them are, evenly spaced.
        asked: places of the normals that are mirrored, none of them in `bank`.
    """
    spaced = bank[torch.linspace(0, len(bank) - 1, min(len(bank), _MOST)).round().long()]
    known = torch.cat([_small(normals.take(part)) for part in even_split(spaced, normals.batch_size)])
    farther = 0
    for part in even_split(asked, normals.batch_size):
        samples = normals.take(part)
        mirrored = mirror(samples, torch.ones(len(samples), dtype=torch.bool), normals.spec.kind)
        farther += int((nearest_distance(_small(mirrored), known) > nearest_distance(_small(samples), known)).sum())
    return _lower_end(farther, len(asked)) > _FARTHER


def _small(samples: Tensor) -> Tensor:
    """Samples (B, C, H, W) as vectors of at most 32 x 32 averaged pixels."""
    height, width = samples.shape[2:]
    return F.adaptive_avg_pool2d(samples, (min(height, _SIDE), min(width, _SIDE))).flatten(1)


def _lower_end(successes: int, trials: int) -> float:
    """The lower end of Wilson's (1927) 95 % interval for a share."""
    share, z = successes / trials, _SURE
    middle = share + z**2 / (2 * trials)
    return (middle - z * math.sqrt(share * (1 - share) / trials + z**2 / (4 * trials**2))) / (1 + z**2 / trials)
