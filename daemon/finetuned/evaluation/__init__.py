"""
The evaluation worker: asks base, release, head and candidate, and writes one report.
"""
