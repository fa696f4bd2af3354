"""
The evaluation worker: asks base, incumbent and candidate, and writes one report.
"""
