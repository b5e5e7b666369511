"""The HTTP service on BentoML, and its client."""
