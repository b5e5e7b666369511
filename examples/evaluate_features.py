"""Score features of your own network by the field's protocol, with and without re-ranking.

python examples/evaluate_features.py [FEATURES.npz]   # query, gallery [N, D]; *_ids, *_cameras [N]
"""

import sys

import numpy as np

from trireid import evaluate
from trireid.evaluation import evaluate_distance, rerank

if len(sys.argv) > 1:
    data = dict(np.load(sys.argv[1]))
else:  # 50 identities, eight noisy features of each, from two cameras
    rng = np.random.default_rng(0)
    ids = np.repeat(np.arange(50), 8)
    features = rng.normal(size=(50, 64))[ids] + rng.normal(scale=1.6, size=(400, 64))
    cameras, is_query = np.arange(400) % 2, np.arange(400) % 8 == 0
    data = {"query": features[is_query], "gallery": features[~is_query]}
    data |= {"query_ids": ids[is_query], "gallery_ids": ids[~is_query]}
    data |= {"query_cameras": cameras[is_query], "gallery_cameras": cameras[~is_query]}

labels = [data[f"{part}_{name}"] for name in ("ids", "cameras") for part in ("query", "gallery")]
plain = evaluate(data["query"], data["gallery"], *labels)
reranked = evaluate_distance(rerank(data["query"], data["gallery"]), *labels)
for name, scores in {"plain": plain, "re-ranked": reranked}.items():
    print(f"{name:<10} mAP {scores.mAP:.1%}  Rank-1 {scores.rank1:.1%}  {scores.queries} queries")
