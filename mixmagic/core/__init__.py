"""Plain values and small helpers that the whole project shares.

Imports only `errors` of the project; everything above may import it. To add a value or a helper
that is free of I/O and of policy: one module here.
"""
