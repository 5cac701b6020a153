"""Markdown in, safe Markdown out: what a model wrote, read and written anew.

Imports `forks` alone of the project; all but that may import it. To add a reader of answers: one
module here.
"""
