"""
The parts of README.md and docs/reference/ that are generated from the code.
"""
