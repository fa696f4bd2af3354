"""
An adapter merged into the model it sits on: computed, checked, written as stock libraries read it.
"""
