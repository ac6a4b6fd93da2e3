"""Arrays of bases and residues to integer ids of a vocabulary; pure functions."""
