"""Embedded models: llama.cpp in a separate process.

Imports `backends` and the packages below it. Only `backends` imports it, by name;
`commands.local` and the doctor import its `weights`. The script `llama` runs in the process.
"""
