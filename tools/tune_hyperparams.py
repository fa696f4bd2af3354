#!/usr/bin/env python3
"""
``finetuned tune`` from a checkout: same arguments, output and exit status.
"""

import sys

import _venv

if __name__ == "__main__":
    sys.exit(_venv.launch("tune"))
