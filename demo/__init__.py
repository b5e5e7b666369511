"""Demo: the synthetic world, demo galleries, baselines, the embedded default networks and how they
are trained.
"""
