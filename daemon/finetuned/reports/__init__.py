"""
Pages that a person reads: one per version, one per comparison.

Begin at page.py. Knows eval reports and tables; knows no model and no daemon.
"""
