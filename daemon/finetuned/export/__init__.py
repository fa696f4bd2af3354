"""
Versions written for other programs: whole models, GGUF files, Modelfiles, adapters; and compared.
"""
