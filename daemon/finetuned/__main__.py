"""
``python -m finetuned`` is the console script.
"""

from finetuned.cli import main

raise SystemExit(main())
