"""OpenAI-compatible servers over HTTP: the only package that imports httpx and httpcore.

Imports `backends` and the packages below it; only `backends` opens it, by name. To read one more
thing of a response: one module here, free of I/O but for `client`, `network` and `connecting`.
"""
