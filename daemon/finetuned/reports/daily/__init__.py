"""
The daily report and the messages at once: collected, worded, drawn, delivered.
"""
