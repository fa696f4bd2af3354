"""
A daemon that turns a folder of JSONL into a continuously fine-tuned model.
"""

__version__ = "0.1.0"
