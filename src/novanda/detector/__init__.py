"""The one stateful thing: it learns what normal looks like, scores, decides, and lives in one file."""

from novanda.detector.detector import Detector

__all__ = ["Detector"]
