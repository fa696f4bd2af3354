"""
The training loss: what rows share is computed once, only supervised positions are scored.
"""
