"""
Questions that a person asks a model, outside of any job.
"""
