"""The cookies of one session, kept without parsing what nobody reads."""

from collections.abc import Mapping, Sequence


class CookieCrumbs:
    """Cookies of one episode with one server, by name.

    A cookie jar with domains, paths and expiry costs more than the request, and an episode talks to
    one server for minutes.
    """

    __slots__ = ("_crumbs", "_unread")

    def __init__(self, cookies: Mapping[str, str] | None = None) -> None:
        self._crumbs = dict(cookies or {})
        self._unread: Sequence[str] = ()

    def keep(self, set_cookies: Sequence[str]) -> None:
        """Keep a reply's `Set-Cookie` headers."""
        if set_cookies:
            self._read()
            self._unread = set_cookies

    def header(self) -> str:
        """Value of the `Cookie` header; empty without cookies."""
        self._read()
        return "; ".join(f"{name}={value}" for name, value in self._crumbs.items())

    def items(self) -> list[tuple[str, str]]:
        """Names and values."""
        self._read()
        return list(self._crumbs.items())

    def _read(self) -> None:
        for set_cookie in self._unread:
            name, _, value = set_cookie.partition(";")[0].partition("=")
            self._crumbs[name.strip()] = value.strip()
        self._unread = ()
