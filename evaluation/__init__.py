"""The field's measures: mAP, CMC, protocols, and the descriptors that any network has to beat."""

from evaluation.metrics import Scores, evaluate, normalise

__all__ = ["Scores", "evaluate", "normalise"]
