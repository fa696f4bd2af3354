"""
Sources of training rows: generators, and files of other shapes.
"""
