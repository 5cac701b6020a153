"""Everything that a person sees: answers while they stream, and tables.

Imports IPython, `sessions` and lower packages; `commands` and higher ones may import it. To add an
output format: one row in `formats.py`.
"""
