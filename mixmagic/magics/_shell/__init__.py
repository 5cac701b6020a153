"""What the magics share of IPython: parsing, completion, new cells, interrupts.

Imports `commands` and what stands below it; only the modules of `magics` may import it. To add
something that several magics need of the shell: one module here.
"""
