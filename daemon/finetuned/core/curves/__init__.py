"""
Learning curves: what the figures of one job show, by tests with their p-values, and what to change.
"""
