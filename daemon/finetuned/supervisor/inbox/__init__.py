"""
From a dropped file to a validated dataset, and the original's last place.
"""
