"""
JSON lines become examples, then token ids with a mask of what is trained.
"""
