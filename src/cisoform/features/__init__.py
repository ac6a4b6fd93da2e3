"""Features of frozen models, kept on disk so that no state is encoded twice."""
