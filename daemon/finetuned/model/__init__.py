"""
Models loaded from directories onto a device.
"""
