"""
Training and evaluation runs: their specs, their workers and their ends.
"""
