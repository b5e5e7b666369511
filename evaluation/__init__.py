"""The field's measures: mAP, CMC, protocols, and the descriptors that any network has to beat."""

from evaluation.metrics import Scores, evaluate, evaluate_distance, normalise
from evaluation.rerank import rerank

__all__ = ["Scores", "evaluate", "evaluate_distance", "normalise", "rerank"]
