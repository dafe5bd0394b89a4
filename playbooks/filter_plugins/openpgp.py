"""Filters on OpenPGP keys."""

from __future__ import annotations

from collections.abc import Callable

from ansible.errors import AnsibleFilterError
from pysequoia import Cert

ARMOR = "-----BEGIN PGP PUBLIC KEY BLOCK-----"


def openpgp_fingerprints(text: str) -> list[str]:
    """The fingerprints (upper-case hexadecimal) of every key in an ASCII-armoured text.

    apt trusts each key of a file, so whoever pins one must see all of them.

    Raises:
        AnsibleFilterError: the text holds no key.
    """
    if ARMOR not in text:
        raise AnsibleFilterError("this is no ASCII-armoured OpenPGP key")
    try:
        found = [cert.fingerprint.upper() for cert in Cert.split_bytes(text.encode())]
    except Exception as error:  # pysequoia raises nothing more precise
        raise AnsibleFilterError(f"this is no OpenPGP key: {error}") from error
    return found


class FilterModule:
    """What Ansible finds here."""

    def filters(self) -> dict[str, Callable[[str], list[str]]]:
        """Filters by name."""
        return {"openpgp_fingerprints": openpgp_fingerprints}
