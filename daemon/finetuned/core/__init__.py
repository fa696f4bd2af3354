"""
Pure decisions and arithmetic: no files, no clock, no processes, no tensors.
"""
