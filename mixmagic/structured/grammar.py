"""Requests for answers in a format that the model's server enforces, by a grammar."""

from __future__ import annotations

from dataclasses import replace

from mixmagic.core.values import Request


def with_format(request: Request, name: str) -> Request:
    """Return the request with what the catalog adds to it for answers in a format.

    That depends on the first catalog row of the asked name, and so on no key: a request for another
    model stays as it is.

    Args:
        request: The request.
        name: A format, as for `-f`.

    Example:
        >>> with_format(session.request("Three colors", model="local"), "json").params["extra_body"]
    """
    model = request.model
    fields = {**model.provider.dialect.formats, **model.formats}.get(name)
    if not fields:
        return request
    body = {**fields, **request.params.get("extra_body", {})}
    return replace(request, params={**request.params, "extra_body": body})
