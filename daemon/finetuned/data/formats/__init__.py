"""
Rows in each format that people have, read into examples: a file and a closed set of keys each.
"""
