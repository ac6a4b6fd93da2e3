"""What the commands do, without the command line: each function takes paths and settings and returns results.

The facade (`api`), the commands (`cli`) and the demo call these, so that they cannot drift apart.
"""
