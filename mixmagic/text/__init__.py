"""Markdown in, safe Markdown out, and tables: a model's text is parsed and written anew.

Imports only `core`; all higher packages may import it. To allow a new construct: a rule in
`markdown` to parse it, and a method in `writer` or `inline` to write it.
"""
