"""Why a certificate is not accepted."""


class UnreadableError(Exception):
    """The file is damaged, or no certificate."""


class InvalidError(Exception):
    """The certificate does not prove what it says."""
