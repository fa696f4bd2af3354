"""
A loaded model answers prompts and scores answers.
"""
