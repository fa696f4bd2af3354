"""
The ingestion worker: validates claimed files and writes datasets, without torch.
"""
