"""
How sure an answer is to be right: read from its tokens' probabilities, mapped to a probability.
"""
