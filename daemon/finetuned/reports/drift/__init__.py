"""
What moved: prompts, answers and new files beside what was trained and what was before.
"""
