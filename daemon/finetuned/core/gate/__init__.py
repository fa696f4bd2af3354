"""
The gate: whether a candidate may become head or release.

Pure: evidence in, verdict out. Evidence that is missing is a failure, never a
pass, and every rule records what it saw. Differences are judged by paired
tests on the same items, so that noise neither promotes nor rejects.
"""
