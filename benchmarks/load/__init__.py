"""The service under load, against a bare loop of the same work: `python -m benchmarks.load`."""
