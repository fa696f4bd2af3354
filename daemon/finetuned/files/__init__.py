"""
The on-disk protocol: atomic writes, orders, claims, run folders and the journal.
"""
