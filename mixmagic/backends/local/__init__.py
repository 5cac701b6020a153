"""Embedded models: llama.cpp in a process of its own.

Imports `backends` and the packages below it; only `backends` opens it, by name, and `cli` and the
doctor its `weights`. To change what runs in the process: `llama`, a script of its own.
"""
