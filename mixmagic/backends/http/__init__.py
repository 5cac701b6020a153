"""OpenAI-compatible servers over HTTP: the only package that imports httpx and httpcore.

Imports `backends` and the packages below it; only `backends` imports it, by name. Only `backend`,
`transport`, `network` and `resolver` do I/O.
"""
