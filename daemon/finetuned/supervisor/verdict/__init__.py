"""
What an eval report means for its job: promotion or rejection, and what is recorded.
"""
