"""Embedded models: llama.cpp in a separate process.

Imports `backends` and the packages below it. Only `backends` imports it, by name; the doctor, and
the commands about local models, import its `gguf`, `hub` and `weights`. The scripts `llama` and
`download` run in processes of their own.
"""
