"""The commands, one file each, for `%mixmagic NAME` and for the shell.

Imports `display`, `sessions` and what stands below them; `magics` and `cli` may import it. No
IPython: the shell stays light. To add a command: one module here.
"""
