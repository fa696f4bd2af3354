"""
Whether what users ask, and what they are answered, moved away from a reference. Pure.
"""
