"""Rivals from another setting: systems that are shown attacks while they learn.

Table 6 of the paper sets its own method, which sees live faces alone, beside systems that learn from attacks as well.
Those that need no further supervision are built here: a description of short windows of frames (`systems`,
`textures`, `cnn`) and a support vector machine, judged by the same protocol. They are no `Method`s and make no
`Detector`: the contract of those is that nothing but normals is ever learned from.
"""

from novanda.supervised.clips import Classifier, ClipJudge
from novanda.supervised.cnn import CnnSvm
from novanda.supervised.systems import DESCRIPTOR_SYSTEMS, DescriptorSvm, System

__all__ = ["DESCRIPTOR_SYSTEMS", "Classifier", "ClipJudge", "CnnSvm", "DescriptorSvm", "System"]
