"""
Worker processes: how they are started, given runs, stopped and reaped.
"""
