"""
Generators of training rows.
"""
