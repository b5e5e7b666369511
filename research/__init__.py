"""The comparisons of the training notes: docs/experiments.md."""
