"""The proxy of the environment that a request goes through, since a transport of ours hides it."""

from __future__ import annotations

import ipaddress
from urllib.parse import unquote, urlsplit, urlunsplit
from urllib.request import getproxies, proxy_bypass

import httpcore
import httpx


def proxy_of(url: httpx.URL) -> httpcore.Proxy | None:
    """What ``HTTPS_PROXY``, ``HTTP_PROXY``, ``ALL_PROXY`` and ``NO_PROXY`` say of ``url``.

    Never one for this machine itself. Raises `httpx.UnsupportedProtocol` for a proxy that is not
    spoken to by plain HTTP (which carries TLS all the same).
    """
    if _is_here(url.host):
        return None
    proxies = getproxies()
    given = proxies.get(url.scheme) or proxies.get("all")
    if not given or proxy_bypass(url.host):
        return None
    parts = urlsplit(given if "://" in given else f"http://{given}")
    if parts.scheme != "http":
        raise httpx.UnsupportedProtocol(f"a proxy has to be http://..., not {parts.scheme}://...")
    user, at, host = parts.netloc.rpartition("@")
    name, _, password = user.partition(":")
    auth = (unquote(name), unquote(password)) if at else None
    return httpcore.Proxy(urlunsplit(parts._replace(netloc=host, path="/")), auth=auth)


def _is_here(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
