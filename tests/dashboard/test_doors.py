"""Nobody comes in who should not: by another name, from another page, from another machine, or without a password."""

from __future__ import annotations

import asyncio
import os
import socket
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asc_core.errors import UserError
from asc_core.passwords import keep_password, read_passwords
from benchmarks.served import served
from dashboard import doors
from dashboard.doors import HEADERS, LOOPBACK, USER_HEADER, Doors

PASSWORD = "correct horse battery"


@pytest.fixture(scope="module")
def passwords(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("doors") / "passwords"
    keep_password(file, "ada", PASSWORD)
    keep_password(file, "grace", "another long password")
    return file


class Inside:
    """What lies behind the doors: remembers who has come in."""

    def __init__(self) -> None:
        self.users: list[str | None] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        headers = {name.decode(): value.decode() for name, value in scope["headers"]}
        self.users.append(headers.get(USER_HEADER))
        if scope["type"] == "websocket":
            await send({"type": "websocket.accept"})
            return
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"pages"})


def ask(
    app: Doors,
    path: str = "/",
    method: str = "GET",
    body: bytes = b"",
    kind: str = "http",
    client: str = "10.0.0.1",
    **headers: str,
) -> tuple[int | str, dict[str, str], bytes]:
    """(status, or the websocket's answer; headers; body)"""
    said = {"host": "localhost:8501"} | {name.replace("_", "-"): value for name, value in headers.items()}
    scope = {
        "type": kind,
        "path": path,
        "method": method,
        "scheme": "http",
        "client": (client, 1),
        "headers": [(name.encode(), value.encode("latin-1")) for name, value in said.items() if value],
    }
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return {"type": "websocket.connect"} if kind == "websocket" else {"type": "http.request", "body": body}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    asyncio.run(app(scope, receive, send))
    if kind == "websocket":
        return sent[0]["type"], {}, b""
    found = {name.decode(): value.decode() for name, value in sent[0]["headers"]}
    return sent[0]["status"], found, b"".join(message.get("body", b"") for message in sent[1:])


def log_in(app: Doors, name: str, password: str, **more: str) -> tuple[int | str, str]:
    """(status, cookie)"""
    body = urlencode({"name": name, "password": password}).encode()
    status, headers, _ = ask(app, "/login", "POST", body, **more)
    return status, headers.get("set-cookie", "").partition(";")[0]


@pytest.mark.parametrize("host", ["localhost:8501", "LOCALHOST", "127.0.0.1:99", "[::1]:8501"])
def test_own_names_lead_in(host: str) -> None:
    inside = Inside()
    app = Doors(inside, LOOPBACK, None)
    status, headers, _ = ask(app, host=host)
    assert status == 200
    assert {name.lower(): value for name, value in HEADERS.items()}.items() <= headers.items()
    assert ask(app, kind="websocket", host=host, origin=f"http://{host}")[0] == "websocket.accept"
    assert inside.users == [None, None]


@pytest.mark.parametrize(
    "host", ["evil.example", "localhost.evil.example", "127.0.0.1.nip.io:8501", "", "a@localhost.x", "["]
)
def test_other_names_do_not(host: str) -> None:
    inside = Inside()
    app = Doors(inside, LOOPBACK, None)
    assert ask(app, host=host)[0] == 421
    assert ask(app, kind="websocket", host=host, origin=f"http://{host}")[0] == "websocket.close"
    assert inside.users == []


@pytest.mark.parametrize("origin", ["http://evil.example", "http://localhost:9999", "null", "http://localhost", "x"])
def test_other_pages_do_not(origin: str) -> None:
    inside = Inside()
    app = Doors(inside, LOOPBACK, None)
    assert ask(app, origin=origin)[0] == 403
    assert ask(app, "/_stcore/stream", kind="websocket", origin=origin)[0] == "websocket.close"
    assert inside.users == []


@given(st.text(), st.text())
def test_whatever_is_said_only_own_names_and_pages_lead_in(host: str, origin: str) -> None:
    host, origin = (text.encode("utf-8", "replace").decode("latin-1") for text in (host, origin))
    inside = Inside()
    ask(Doors(inside, LOOPBACK, None), host=host, origin=origin)
    assert not inside.users or not origin or origin.partition("//")[2].startswith(host)


@pytest.mark.parametrize(
    "path", ["/_stcore/metrics", "/_stcore/agent/mcp", "/_stcore/agent", "/_stcore/script-health-check"]
)
def test_what_streamlit_opens_beside_the_pages_is_shut(path: str) -> None:
    assert ask(Doors(Inside(), LOOPBACK, None), path)[0] == 404


def test_without_a_password_there_is_a_page_to_log_in_and_nothing_else(passwords: Path) -> None:
    inside = Inside()
    app = Doors(inside, LOOPBACK, read_passwords(passwords))
    status, headers, _ = ask(app, "/tune")
    assert (status, headers["location"]) == (303, "/login")
    assert b"Password" in ask(app, "/login")[2]
    for path in ("/_stcore/health", "/_stcore/host-config", "/_stcore/stream"):
        assert ask(app, path)[0] == 401
    assert ask(app, "/_stcore/upload_file/x", "PUT", b"data")[0] == 401
    assert ask(app, "/downloads/x/y.zip", "HEAD")[0] == 401
    assert ask(app, kind="websocket")[0] == "websocket.close"
    assert ask(app, cookie=f"{doors.COOKIE}=guessed")[0] == 303
    assert inside.users == []


def test_who_logs_in_is_known_to_the_pages_and_nobody_can_say_to_be_another(passwords: Path) -> None:
    inside = Inside()
    app = Doors(inside, LOOPBACK, read_passwords(passwords))
    status, cookie = log_in(app, "ada", PASSWORD)
    assert status == 303
    assert ask(app, cookie=cookie)[0] == 200
    assert ask(app, kind="websocket", cookie=cookie, x_asc_user="grace")[0] == "websocket.accept"
    assert inside.users == ["ada", "ada"]
    assert ask(app, "/logout", cookie=cookie)[0] == 303
    assert ask(app, cookie=cookie)[0] == 303
    assert inside.users == ["ada", "ada"]


@pytest.mark.parametrize(("name", "password"), [("ada", "wrong"), ("grace", PASSWORD), ("nobody", PASSWORD), ("", "")])
def test_wrong_passwords_do_not_lead_in(passwords: Path, name: str, password: str) -> None:
    app = Doors(Inside(), LOOPBACK, read_passwords(passwords))
    assert log_in(app, name, password) == (401, "")
    assert ask(app, "/login", "POST", b"x" * 100_000)[0] == 401


def test_guessing_has_an_end(passwords: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doors, "matches", lambda password, expected: password == PASSWORD)
    app = Doors(Inside(), LOOPBACK, read_passwords(passwords))
    tries = [log_in(app, "ada", "wrong")[0] for _ in range(doors.FAILURES + 2)]
    assert tries == [401] * doors.FAILURES + [429] * 2
    assert log_in(app, "ada", PASSWORD)[0] == 429
    assert log_in(app, "ada", PASSWORD, client="10.0.0.2")[0] == 303


def test_a_browser_says_where_the_form_to_log_in_comes_from() -> None:
    """Without any referrer it says "null", and so does a page of nobody."""
    assert HEADERS["Referrer-Policy"] == "same-origin"


def test_a_visit_ends(passwords: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doors, "SECONDS_OF_A_VISIT", -1.0)
    app = Doors(Inside(), LOOPBACK, read_passwords(passwords))
    _, cookie = log_in(app, "ada", PASSWORD)
    assert ask(app, cookie=cookie)[0] == 303


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("", "holds no password"),
        ("ada:secret", "line 1 is no NAME:HASH"),
        ("../x:$argon2id$v=19$m=1,t=1,p=1$AAAA$AAAA", "line 1 is no NAME:HASH"),
        ("\xff", "line 1"),
    ],
)
def test_a_file_that_lets_nobody_in_is_refused(tmp_path: Path, content: str, says: str) -> None:
    file = tmp_path / "passwords"
    file.write_text(content)
    with pytest.raises(UserError, match=says):
        read_passwords(file)


def test_the_file_of_passwords_is_its_owners_and_holds_none(passwords: Path) -> None:
    assert passwords.stat().st_mode & 0o077 == 0
    assert PASSWORD not in passwords.read_text()
    os.chmod(passwords, 0o666)
    try:
        with pytest.raises(UserError, match="chmod go-w"):
            read_passwords(passwords)
    finally:
        os.chmod(passwords, 0o600)
    with pytest.raises(UserError, match="12 to 256"):
        keep_password(passwords, "ada", "short")
    assert set(read_passwords(passwords)) == {"ada", "grace"}


@pytest.mark.slow
def test_the_server_is_there_for_this_machine_alone(tmp_path: Path) -> None:
    """A second loopback address stands for every other address: a server on all interfaces would answer there."""
    with served(tmp_path / "study") as (address, _):
        port = int(address.rpartition(":")[2])
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.2", port), 5).close()
        with urllib.request.urlopen(address, timeout=30) as page:
            assert page.headers["X-Frame-Options"] == "DENY"
            assert "frame-ancestors 'none'" in page.headers["Content-Security-Policy"]
        for path, headers, status in (
            ("", {"Host": "evil.example"}, 421),
            ("", {"Origin": "http://evil.example"}, 403),
            ("/_stcore/metrics", {}, 404),
        ):
            with pytest.raises(urllib.error.HTTPError) as refused:
                urllib.request.urlopen(urllib.request.Request(address + path, headers=headers), timeout=30)
            assert refused.value.code == status
        assert _handshake(port, "http://evil.example").startswith("HTTP/1.1 403")
        assert _handshake(port, address).startswith("HTTP/1.1 101")


def _handshake(port: int, origin: str) -> str:
    """The first line that answers the wish for a websocket."""
    with socket.create_connection(("127.0.0.1", port), 30) as connection:
        lines = [
            "GET /_stcore/stream HTTP/1.1",
            f"Host: 127.0.0.1:{port}",
            "Connection: Upgrade",
            "Upgrade: websocket",
            "Sec-WebSocket-Version: 13",
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
            f"Origin: {origin}",
        ]
        connection.sendall(("\r\n".join(lines) + "\r\n\r\n").encode())
        return connection.recv(1000).decode("latin-1").splitlines()[0]
