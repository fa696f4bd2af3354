"""
Base models from elsewhere, brought below models/base/: downloaded, checked, converted.

Knows packages, the hub and file formats; does not know jobs, versions or the daemon, which
never downloads.
"""
