"""
The daemon: looks, decides, performs, publishes; it never loads torch.
"""
