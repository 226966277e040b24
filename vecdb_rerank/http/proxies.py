"""The proxy that the environment names for a request; httpx reads none for a custom transport."""

from __future__ import annotations

import ipaddress
from urllib.parse import unquote, urlsplit, urlunsplit
from urllib.request import getproxies, proxy_bypass

import httpcore
import httpx

from vecdb_rerank.errors import ConfigurationError

_SCHEMES = ("http", "socks5", "socks5h")


def proxy_of(url: httpx.URL) -> httpcore.Proxy | None:
    """Return the proxy of ``HTTPS_PROXY``, ``HTTP_PROXY`` or ``ALL_PROXY`` for ``url``.

    Return None for hosts in ``NO_PROXY`` and for loopback addresses. Raise `ConfigurationError`
    for a proxy that is neither HTTP nor SOCKS5 (HTTP proxies carry TLS, too), and for a SOCKS5
    proxy without the package ``socksio``.
    """
    if _is_loopback(url.host):
        return None
    proxies = getproxies()
    given = proxies.get(url.scheme) or proxies.get("all")
    if not given or proxy_bypass(url.host):
        return None
    variable = f"{url.scheme if proxies.get(url.scheme) else 'all'}_proxy".upper()
    parts = urlsplit(given if "://" in given else f"http://{given}")
    scheme = "socks5" if parts.scheme == "socks" else parts.scheme
    if scheme not in _SCHEMES:
        raise ConfigurationError(
            variable, f"the scheme must be one of: {', '.join(_SCHEMES)}; got {scheme}"
        )
    if scheme.startswith("socks") and not _speaks_socks():
        raise ConfigurationError(
            variable, 'a SOCKS proxy needs socksio; run: pip install "httpx[socks]"'
        )
    user, at, host = parts.netloc.rpartition("@")
    name, _, password = user.partition(":")
    auth = (unquote(name), unquote(password)) if at else None
    bare = parts._replace(scheme=scheme, netloc=host, path="/", query="", fragment="")
    return httpcore.Proxy(urlunsplit(bare), auth=auth)


def _speaks_socks() -> bool:
    try:
        import socksio  # noqa: F401 - httpcore imports it when it connects
    except ImportError:
        return False
    return True


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
