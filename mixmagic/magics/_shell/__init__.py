"""The magics' shared code for IPython's shell: parsing, completion, new cells, interrupts.

Imports `commands` and the packages below it; only the modules of `magics` may import it. To add
something that several magics need of the shell: one module here.
"""
