"""The field's measures: mAP, CMC, protocols, and the descriptors that any network has to beat."""

from trireid.evaluation.metrics import Scores, evaluate, evaluate_distance, normalise
from trireid.evaluation.rerank import rerank

__all__ = ["Scores", "evaluate", "evaluate_distance", "normalise", "rerank"]
