"""The training loop, optimiser, checkpoints and metrics. Knows no biology."""
