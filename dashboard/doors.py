"""Who is let in: under which names the pages answer, to whose pages, and to whom.

Stands before everything that the server has, the websocket included. A request comes in only under a name that the
dashboard is known by (else a page elsewhere could have its own name lead here, DNS rebinding), only from our own pages
where a browser says from which, and, where there are passwords, only with the cookie of who has logged in. What
Streamlit opens beside the pages (metrics, its protocol for agents) stays shut.
"""

from __future__ import annotations

import asyncio
import hashlib
import html
import secrets
import time
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from dataclasses import dataclass, field
from http.cookies import CookieError, SimpleCookie
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from asc_core.passwords import matches, read_passwords
from dashboard.state.user import HEADER as USER_HEADER
from dashboard.state.user import PASSWORDS_VARIABLE

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]

HOSTS_VARIABLE = "ASC_HOSTS"
LOOPBACK = ("localhost", "127.0.0.1", "::1")
COOKIE = "asc-visit"
SECONDS_OF_A_VISIT = 12 * 3600.0
MOST_VISITS = 1000
FAILURES, SECONDS_OF_FAILURES = 10, 600.0  # of one address, after which it has to wait
MOST_ADDRESSES = 10_000
MOST_FORM_BYTES = 4096
SHUT = ("/_stcore/metrics", "/_stcore/agent", "/_stcore/script-health-check")
HEADERS = {
    "X-Frame-Options": "DENY",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",  # with none at all a browser says of a form that it comes from nowhere
    "Cross-Origin-Opener-Policy": "same-origin",
    # Nothing is fetched from elsewhere, whatever a name from a file would have a page show.
    "Content-Security-Policy": (
        "default-src 'self'; img-src 'self' data: blob:; font-src 'self' data:; style-src 'self' 'unsafe-inline'; "
        "script-src 'self' 'unsafe-inline' 'unsafe-eval' blob:; worker-src 'self' blob:; object-src 'none'; "
        "base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
    ),
}
_DUMMY = "$argon2id$v=19$m=65536,t=3,p=4$" + "A" * 22 + "$" + "A" * 43  # so that an unknown name takes as long
_PAGE = """<!doctype html><html lang="en"><meta charset="utf-8"><title>ASC Studio</title>
<meta name="viewport" content="width=device-width">
<body style="font-family:sans-serif;max-width:22rem;margin:4rem auto;padding:0 1rem"><h1>ASC Studio</h1>{said}
<form method="post" action="login"><p><label>Name<br><input name="name" autocomplete="username" autofocus></label></p>
<p><label>Password<br><input name="password" type="password" autocomplete="current-password"></label></p>
<p><button>Log in</button></p></form></body></html>
"""


@dataclass
class Visits:
    """Who has logged in, by a digest of the cookie; nothing of it outlives the process."""

    _until: dict[str, tuple[str, float]] = field(default_factory=dict)

    def begin(self, name: str) -> str:
        """The cookie's value."""
        now = time.monotonic()
        alive = [(token, visit) for token, visit in self._until.items() if visit[1] > now]
        self._until = dict(alive[-(MOST_VISITS - 1) :])
        cookie = secrets.token_urlsafe(32)
        self._until[_digest(cookie)] = name, now + SECONDS_OF_A_VISIT
        return cookie

    def of(self, cookie: str) -> str | None:
        name, until = self._until.get(_digest(cookie), (None, 0.0))
        return name if until > time.monotonic() else None

    def end(self, cookie: str) -> None:
        self._until.pop(_digest(cookie), None)


@dataclass
class Failures:
    """How often each address has named a wrong password lately."""

    _times: dict[str, list[float]] = field(default_factory=dict)

    def too_many(self, address: str) -> bool:
        return len(self._recent(address)) >= FAILURES

    def add(self, address: str) -> None:
        recent = self._recent(address)
        if address not in self._times and len(self._times) >= MOST_ADDRESSES:
            self._times.pop(next(iter(self._times)))
        self._times[address] = [*recent, time.monotonic()][-FAILURES:]

    def _recent(self, address: str) -> list[float]:
        since = time.monotonic() - SECONDS_OF_FAILURES
        return [each for each in self._times.get(address, []) if each > since]


class Doors:
    """ASGI middleware. hosts: names that the dashboard is known by, without ports. passwords: name -> argon2id hash;
    None lets everybody in who comes under a right name, which is for a server that only this machine reaches."""

    def __init__(self, app: Application, hosts: tuple[str, ...], passwords: Mapping[str, str] | None) -> None:
        self.app, self.hosts, self.passwords = app, frozenset(host.lower() for host in hosts), passwords
        self.visits, self.failures = Visits(), Failures()
        self._one_at_a_time = asyncio.Semaphore(2)  # each comparison takes 64 MiB

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)
            return
        headers = _headers(scope)
        refused = self._refused(scope, headers)
        if refused is not None:
            await _answer(scope, receive, send, *refused)
            return
        user = None
        if self.passwords is not None:
            if scope["type"] == "http" and scope["path"] in ("/login", "/logout"):
                await self._log(scope, receive, send, headers)
                return
            user = self.visits.of(_cookie(headers))
            if user is None:
                await self._turn_away(scope, receive, send)
                return
        scope["headers"] = [
            (name, value) for name, value in scope["headers"] if name.lower() != USER_HEADER.encode()
        ] + ([(USER_HEADER.encode(), user.encode())] if user is not None else [])
        await self.app(scope, receive, _with_headers(send))

    def _refused(self, scope: Scope, headers: Mapping[str, str]) -> tuple[int, str] | None:
        """Before anyone is asked who they are."""
        host = headers.get("host", "")
        if _name_of(host) not in self.hosts:
            return 421, "This is not the name of a dashboard here: asc dashboard --name NAME says by which it is known."
        origin = headers.get("origin")
        if origin is not None and urlsplit(origin).netloc.lower() != host.lower():
            return 403, "Only the dashboard's own pages may ask for this."
        if any(scope["path"] == shut or scope["path"].startswith(f"{shut}/") for shut in SHUT):
            return 404, "Not here."
        return None

    async def _turn_away(self, scope: Scope, receive: Receive, send: Send) -> None:
        page = scope["type"] == "http" and scope["method"] == "GET" and not scope["path"].startswith("/_stcore")
        if page:
            await _answer(
                scope, receive, send, 303, "Log in first.", {"Location": f"{scope.get('root_path', '')}/login"}
            )
        else:
            await _answer(scope, receive, send, 401, "Log in first.")

    async def _log(self, scope: Scope, receive: Receive, send: Send, headers: Mapping[str, str]) -> None:
        secure = "; Secure" if scope.get("scheme") == "https" or headers.get("x-forwarded-proto") == "https" else ""
        if scope["path"] == "/logout":
            self.visits.end(_cookie(headers))
            gone = {"Location": "login", "Set-Cookie": f"{COOKIE}=; Path=/; Max-Age=0"}
            await _answer(scope, receive, send, 303, "", gone)
            return
        if scope["method"] != "POST":
            await _answer(scope, receive, send, 200, _PAGE.format(said=""), _HTML)
            return
        address = (scope.get("client") or ("", 0))[0]
        if self.failures.too_many(address):
            await _answer(scope, receive, send, 429, "Too many wrong passwords: wait ten minutes.")
            return
        name, password = await _form(receive)
        if not await self._is_right(name, password):
            self.failures.add(address)
            said = "<p role='alert'>That name and password do not belong together.</p>"
            await _answer(scope, receive, send, 401, _PAGE.format(said=said), _HTML)
            return
        visit = f"{COOKIE}={self.visits.begin(name)}; Path=/; HttpOnly; SameSite=Strict{secure}"
        await _answer(scope, receive, send, 303, "", {"Location": "./", "Set-Cookie": visit})

    async def _is_right(self, name: str, password: str) -> bool:
        assert self.passwords is not None
        expected = self.passwords.get(name, _DUMMY)
        async with self._one_at_a_time:
            right = await asyncio.to_thread(matches, password, expected)
        return right and name in self.passwords


def doors_of(environment: Mapping[str, str]) -> dict[str, Any]:
    """Arguments of `Doors`, from what `asc dashboard` has said. Raises: UserError."""
    hosts = tuple(filter(None, environment.get(HOSTS_VARIABLE, "").split(","))) or LOOPBACK
    file = environment.get(PASSWORDS_VARIABLE)
    return {"hosts": hosts, "passwords": read_passwords(Path(file)) if file else None}


_HTML = {"Content-Type": "text/html; charset=utf-8"}


def _headers(scope: Scope) -> dict[str, str]:
    """The first of each name."""
    found: dict[str, str] = {}
    for name, value in scope["headers"]:
        found.setdefault(name.decode("latin-1").lower(), value.decode("latin-1"))
    return found


def _name_of(host: str) -> str:
    """Without its port: "[::1]:8501" -> "::1"."""
    try:
        return (urlsplit(f"//{host}").hostname or "").lower()
    except ValueError:
        return ""


def _cookie(headers: Mapping[str, str]) -> str:
    try:
        found = SimpleCookie(headers.get("cookie", "")).get(COOKIE)
    except CookieError:
        return ""
    return found.value if found is not None else ""


def _digest(cookie: str) -> str:
    return hashlib.sha256(cookie.encode()).hexdigest()


async def _form(receive: Receive) -> tuple[str, str]:
    """(name, password); empty ones where there are none."""
    body, more = b"", True
    while more and len(body) <= MOST_FORM_BYTES:
        message = await receive()
        body += message.get("body", b"")
        more = message.get("more_body", False)
    fields = parse_qs(body[:MOST_FORM_BYTES].decode("utf-8", "replace"), max_num_fields=8) if not more else {}
    return fields.get("name", [""])[0], fields.get("password", [""])[0]


def _with_headers(send: Send) -> Send:
    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            said = {name.lower() for name, _ in message.get("headers", [])}
            ours = [(name.lower().encode(), value.encode()) for name, value in HEADERS.items()]
            message["headers"] = [*message.get("headers", []), *(one for one in ours if one[0] not in said)]
        await send(message)

    return sending


async def _answer(
    scope: Scope, receive: Receive, send: Send, status: int, text: str, headers: Mapping[str, str] | None = None
) -> None:
    if scope["type"] == "websocket":
        await receive()  # its wish to connect
        await send({"type": "websocket.close", "code": 1008, "reason": html.unescape(text)[:100]})
        return
    content = text.encode()
    said = {"Content-Type": "text/plain; charset=utf-8", "Cache-Control": "no-store"} | dict(headers or {})
    pairs = [(name.lower().encode(), value.encode()) for name, value in said.items()]
    send = _with_headers(send)
    await send({"type": "http.response.start", "status": status, "headers": pairs})
    await send({"type": "http.response.body", "body": content})
