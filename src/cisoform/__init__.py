"""Gene expression from sequence: isoforms per tissue, and regulation from accessible peaks."""

__version__ = "0.1.0"
