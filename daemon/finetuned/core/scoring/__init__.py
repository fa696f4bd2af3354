"""
How answers are marked: a scorer reads a suite's item, and grades each answer to it.
"""
