"""
What clients speak to: routes, queue, names of versions, and the engine as a child process.

Loads no torch and imports nothing of the engine; core/generation.py is all they share.
"""
