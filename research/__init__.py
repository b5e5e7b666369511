"""The comparison of the training notes: docs/experiments.md."""
