"""As much of the hub's API as a push needs, on loopback: repositories, LFS, commits. It keeps what was sent to it."""

from __future__ import annotations

import base64
import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

TOKEN = "hf_right"


@dataclass
class Hub:
    """repositories: name -> whether private. files: what was committed, by path. answer_with: a status for all."""

    address: str = ""
    repositories: dict[str, bool] = field(default_factory=dict)
    files: dict[str, bytes] = field(default_factory=dict)
    objects: dict[str, bytes] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    answer_with: int | None = None


@contextmanager
def hub_on_loopback() -> Iterator[Hub]:
    hub = Hub()
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler_of(hub))
    hub.address = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()


def _handler_of(hub: Hub) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *args: Any) -> None:
            """Quiet."""

        def say(self, status: int, content: Any) -> None:
            body = json.dumps(content).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def body(self) -> bytes:
            if self.headers.get("Transfer-Encoding") == "chunked":
                content = b""
                while size := int(self.rfile.readline(), 16):
                    content += self.rfile.read(size)
                    self.rfile.readline()
                self.rfile.readline()
                return content
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))

        def do_GET(self) -> None:
            name = self.path.removeprefix("/api/models/").partition("?")[0]
            if name in hub.repositories:
                self.say(200, {"id": name, "private": hub.repositories[name], "siblings": [], "tags": []})
            else:
                self.say(404, {"error": "not found"})

        def do_PUT(self) -> None:
            content = self.body()
            hub.objects[hashlib.sha256(content).hexdigest()] = content
            self.say(200, {})

        def do_POST(self) -> None:
            hub.asked.append(f"POST {self.path}")
            content = self.body()
            if hub.answer_with is not None:
                self.say(hub.answer_with, {"error": "as it was told"})
            elif self.path == "/api/validate-yaml":
                self.say(200, {"errors": [], "warnings": []})
            elif self.headers.get("Authorization") != f"Bearer {TOKEN}":
                self.say(401, {"error": "Invalid username or password."})
            elif self.path == "/api/repos/create":
                self.create(json.loads(content))
            elif "/preupload/" in self.path:
                files = json.loads(content)["files"]
                self.say(200, {"files": [self.mode(file["path"]) for file in files]})
            elif self.path.endswith("/info/lfs/objects/batch"):
                objects = json.loads(content)["objects"]
                to = [{**o, "actions": {"upload": {"href": f"{hub.address}/lfs/{o['oid']}"}}} for o in objects]
                self.say(200, {"transfer": "basic", "objects": to})
            else:
                self.commit([json.loads(line) for line in content.splitlines()])

        def mode(self, path: str) -> dict[str, Any]:
            mode = "lfs" if path.endswith(".safetensors") else "regular"
            return {"path": path, "uploadMode": mode, "shouldIgnore": False}

        def create(self, asked: dict[str, Any]) -> None:
            name = f"{asked['organization']}/{asked['name']}" if asked.get("organization") else f"me/{asked['name']}"
            if name in hub.repositories:
                self.say(409, {"error": "You already created this model repo", "url": f"{hub.address}/{name}"})
                return
            private = asked.get("private", asked.get("visibility") == "private")
            hub.repositories[name] = bool(private)
            self.say(200, {"url": f"{hub.address}/{name}"})

        def commit(self, lines: list[dict[str, Any]]) -> None:
            for line in lines:
                value = line["value"]
                if line["key"] == "file":
                    hub.files[value["path"]] = base64.b64decode(value["content"])
                elif line["key"] == "lfsFile":
                    hub.files[value["path"]] = hub.objects[value["oid"]]
            name = self.path.removeprefix("/api/models/").partition("/commit/")[0]
            done = {"success": True, "commitOid": "0" * 40, "commitUrl": f"{hub.address}/{name}/commit/{'0' * 40}"}
            self.say(200, done)

    return Handler
