"""
The log, and readings of host and GPU.
"""
