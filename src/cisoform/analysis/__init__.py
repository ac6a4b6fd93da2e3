"""Zero-shot readings of a fitted CREformer: pure functions from a model and samples to tables."""
