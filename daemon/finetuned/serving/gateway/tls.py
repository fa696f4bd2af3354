"""
The certificate of the service, read again when its files change. Knows no requests.
"""

from __future__ import annotations

import ssl
from pathlib import Path

import structlog

from finetuned.errors import ConfigError

log = structlog.get_logger()

Stamp = tuple[tuple[int, int], ...]


class Certificate:
    """
    A TLS context for connections that begin from now on.
    """

    def __init__(self, cert: Path, key: Path) -> None:
        """
        Args:
            cert: Certificate chain, PEM.
            key: Its private key, PEM, without a password.

        Raises:
            ConfigError: They cannot be read, or do not belong together.
        """
        self._cert = cert
        self._key = key
        self._stamp: Stamp | None = None
        try:
            self._stamp = self._look()
            self.context = self._loaded()
        except (OSError, ValueError) as error:
            raise ConfigError(
                f"serving.tls_cert and serving.tls_key: {cert} and {key} cannot be used: {error}; "
                "expected a certificate chain and its private key in PEM"
            ) from None

    def renew(self) -> None:
        """
        Read the files again if they changed; the old certificate stays if the new one is wrong.
        """
        try:
            stamp = self._look()
            if stamp == self._stamp:
                return
            self._stamp = stamp
            self._loaded()  # into a context that nobody uses: half a pair must not be taken
            self.context.load_cert_chain(self._cert, self._key)
        except (OSError, ValueError) as error:
            log.error("certificate_not_renewed", reason=str(error))
        else:
            log.info("certificate_renewed", file=str(self._cert))

    def _look(self) -> Stamp:
        found = (self._cert.stat(), self._key.stat())
        return tuple((each.st_mtime_ns, each.st_ino) for each in found)

    def _loaded(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.load_cert_chain(self._cert, self._key, password=_no_password)
        return context


def _no_password() -> str:
    """Called for an encrypted key, where OpenSSL would otherwise ask on the terminal."""
    raise ValueError("the private key has a password, which nobody can type here")
