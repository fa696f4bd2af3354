"""
Hyperparameter search, as far as it is decided: the space, the looks, what is best.

Pure. Does not know Optuna, processes or files.
"""
