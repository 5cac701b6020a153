"""One call, from its request to its final cost: identity, tokens, answer, JSON form.

May import `text` and the packages below it; `prompting`, `backends`, `store` and the packages above
them may import this package. To add something that is done with every call: one module here.
"""
