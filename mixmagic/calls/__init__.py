"""One call, from its request to its bill.

May import `completion`, `bounds` and what stands below them; `layers` and what stands above it may
import this package. To add something that can be done with a call: one module here.
"""
