"""
Hyperparameter search: trials of our own training worker, at low priority, beside the daemon.
"""
