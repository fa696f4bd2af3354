"""
A directory becomes a model on a device.
"""
