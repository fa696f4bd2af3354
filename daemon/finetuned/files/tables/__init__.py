"""
The tables of the journal: what is recorded in each, and what is asked of it.
"""
