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
_ASKED = 500  # of them mirrored
_STRETCHES = 5
_FARTHER = 0.6  # of the mirrored that must be farther from normals than the sample itself
_SURE = 1.96  # standard errors: 95 % two-sided


def mirroring_shows(normals: Normals) -> bool:
    """Whether pixels tell a mirrored normal from a normal, of any kind that `mirror` knows.

    Mirroring shows where the mirrored one is the farther of the two in surely more than six of ten samples: the lower
    end of Wilson's 95 % interval lies above 0.6. At one half the two are alike; pictures of animals lie a little above
    it, for they are taken from one side a little more often, and that must not count.
    """
    farther, asked = farther_when_mirrored(normals)
    return _lower_end(farther, asked) > _FARTHER


def farther_when_mirrored(normals: Normals) -> tuple[int, int]:
    """Of how many samples the mirror image is farther from its nearest normal than the sample is from its own.

    Up to 500 samples, evenly spaced, are asked about. None is compared with normals of its own fifth of the order they
    come in: shots of a burst, frames of a clip and views of a turntable lie beside each other, and with a near copy of
    itself at hand everything would look farther when mirrored.

    Returns:
        How many are, and of how many.
    """
    count = len(normals)
    places = torch.linspace(0, count - 1, min(count, _MOST)).round().long()
    known = torch.cat([_small(normals.take(part), normals) for part in even_split(places, normals.batch_size)])
    stretch = places * _STRETCHES // count
    asked = torch.linspace(0, len(places) - 1, min(len(places), _ASKED)).round().long()
    farther = 0
    for number in range(_STRETCHES):
        here = asked[stretch[asked] == number]
        others = known[(stretch != number).nonzero().flatten().to(known.device)]
        if len(here) == 0 or len(others) == 0:
            continue
        samples = normals.take(places[here])
        mirrored = mirror(samples, torch.ones(len(samples), dtype=torch.bool), normals.spec.kind)
        as_it_is = nearest_distance(_small(samples, normals), others)
        farther += int((nearest_distance(_small(mirrored, normals), others) > as_it_is).sum())
    return farther, len(asked)


def _small(samples: Tensor, normals: Normals) -> Tensor:
    """Samples (B, C, H, W) as vectors of at most 32 x 32 averaged pixels."""
    height, width = normals.spec.height, normals.spec.width
    return F.adaptive_avg_pool2d(samples, (min(height, _SIDE), min(width, _SIDE))).flatten(1)


def _lower_end(successes: int, trials: int) -> float:
    """The lower end of Wilson's (1927) 95 % interval for a share."""
    share, z = successes / trials, _SURE
    middle = share + z**2 / (2 * trials)
    return (middle - z * math.sqrt(share * (1 - share) / trials + z**2 / (4 * trials**2))) / (1 + z**2 / trials)
