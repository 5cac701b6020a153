"""OpenAI-compatible servers over HTTP: the only package that imports httpx and httpcore.

Imports `backends` and the packages below it; only `backends` imports it, by name. Only `backend`,
`transport`, `network` and `resolver` do I/O. `guard`, which keeps Python off the network in tests,
imports `errors` alone, and whatever runs notebooks may import it.
"""
