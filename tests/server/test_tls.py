"""HTTPS by certificate files that change."""

from __future__ import annotations

import ssl
from pathlib import Path

import httpx
import pytest
import trustme

from tests.server.running import serving
from vecdb_rerank.errors import ConfigurationError
from vecdb_rerank.server.network.tls import Certificates


def issued(authority: trustme.CA, file: Path) -> Path:
    cert = authority.issue_cert("localhost", "127.0.0.1")
    cert.private_key_and_cert_chain_pem.write_to_path(file)
    return file


def trusting(*authorities: trustme.CA, client: trustme.LeafCert | None = None) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    for authority in authorities:
        authority.configure_trust(context)
    if client is not None:
        client.configure_cert(context)
    return context


def get(url: str, context: ssl.SSLContext) -> int:
    return httpx.get(url.replace("http:", "https:") + "/health", verify=context).status_code


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])  # without SNI, and with it
def test_a_new_certificate_is_used_for_new_connections(tmp_path: Path, host: str) -> None:
    old, new = trustme.CA(), trustme.CA()
    file = issued(old, tmp_path / "cert.pem")
    with serving({"tls_cert": str(file)}) as running:
        url = running.url.replace("127.0.0.1", host)
        assert get(url, trusting(old)) == 200
        issued(new, file)
        while True:  # it is looked at once a second
            try:
                assert get(url, trusting(new)) == 200
                break
            except httpx.ConnectError:
                assert get(url, trusting(old, new)) == 200
        with pytest.raises(httpx.ConnectError):
            get(url, trusting(old))


def test_clients_need_a_certificate_of_an_authority(tmp_path: Path) -> None:
    authority, trusted, other = trustme.CA(), trustme.CA(), trustme.CA()
    file = issued(authority, tmp_path / "cert.pem")
    client_ca = tmp_path / "ca.pem"
    trusted.cert_pem.write_to_path(client_ca)
    with serving({"tls_cert": str(file), "tls_client_ca": str(client_ca)}) as running:
        known = trusting(authority, client=trusted.issue_cert("client"))
        assert get(running.url, known) == 200
        for client in (None, other.issue_cert("client")):
            with pytest.raises(httpx.TransportError):
                get(running.url, trusting(authority, client=client))
        other.cert_pem.write_to_path(client_ca)
        while True:
            try:
                get(running.url, known)
            except httpx.TransportError:
                break
        rotated = trusting(authority, client=other.issue_cert("client"))
        assert get(running.url, rotated) == 200


def test_a_page_over_http_is_of_another_origin(tmp_path: Path) -> None:
    authority = trustme.CA()
    file = issued(authority, tmp_path / "cert.pem")
    with serving({"tls_cert": str(file)}) as running:
        url, context = running.url.replace("http:", "https:"), trusting(authority)

        def status(origin: str) -> int:
            headers = {"origin": origin}
            return httpx.get(f"{url}/health", headers=headers, verify=context).status_code

        assert [status(url), status(running.url)] == [200, 403]


def test_wrong_files_are_named_and_do_not_replace_right_ones(tmp_path: Path) -> None:
    file = issued(trustme.CA(), tmp_path / "cert.pem")
    certificates = Certificates(file)
    file.write_text("no certificate")
    certificates.refresh()
    with pytest.raises(ConfigurationError, match="PEM") as caught:
        Certificates(file)
    assert caught.value.key == "serve.tls_cert"
