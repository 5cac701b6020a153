"""One call, from its request to its final cost: identity, tokens, answer, JSON form.

May import `text` and what stands below it; `prompting`, `backends`, `store` and what stands above
them may import this package. To add something that is done with every call: one module here.
"""
