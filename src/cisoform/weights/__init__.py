"""Readers of public checkpoints, and our own save and load. No pickle code ever runs."""
