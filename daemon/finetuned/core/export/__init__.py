"""
What may be exported, whether an export says the same as the version, and what its card says.
"""
