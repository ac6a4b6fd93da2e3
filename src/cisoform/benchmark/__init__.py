"""Claims as runnable tables, beside their baselines."""
