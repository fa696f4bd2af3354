"""
The service of a root asked from another process; no library beside Python's own is needed.
"""
