"""The field's measures: mAP, CMC, protocols, re-ranking, reports."""

from trireid.evaluation.metrics import Scores, evaluate, evaluate_distance, normalize
from trireid.evaluation.rerank import rerank

#: The old name, for one minor version.
normalise = normalize

__all__ = ["Scores", "evaluate", "evaluate_distance", "normalise", "normalize", "rerank"]
