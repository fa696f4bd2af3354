"""
The training worker: one run after another, from a spec to a candidate.
"""
