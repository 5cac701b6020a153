"""Markdown in, safe Markdown out: what a model wrote, read and written anew.

May be imported by everything above `forks`. To add a reader of answers: one module here.
"""
