"""
The process that holds models and generates: many requests at once, token by token.
"""
