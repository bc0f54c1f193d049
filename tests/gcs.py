"""An emulator of Cloud Storage, and a proxy for TensorFlow, which only uses the real hosts.

TensorFlow uses the proxy, which answers for these hosts and forwards to the emulator; Google's
client uses the proxy as the store itself. The proxy records all requests, and adds what the
emulator lacks: empty and chunked uploads, https in the address of resumable uploads,
`storageLayout`, and listings by pages and ranges.
"""

import contextlib
import http.client
import http.server
import json
import operator
import pathlib
import re
import socket
import ssl
import subprocess
import sys
import threading
import time
import urllib.parse
from collections.abc import Iterator, Sequence

import needs

Request = tuple[str, str]  # method and path

EMULATOR = "gcp-storage-emulator==2026.7.19"
HOSTS = ("www.googleapis.com", "storage.googleapis.com")
SECONDS_TO_START = 120
LISTING = re.compile(r"/storage/v1/b/[^/]+/o(\?|$)")
PAGE = 1_000  # names, at most
UV = pathlib.Path(sys.executable).with_name("uv")


@contextlib.contextmanager
def serve(
    folder: pathlib.Path,
    bucket: str,
    requests: list[Request] | None = None,
    only_listed: Sequence[str] = (),
) -> Iterator[dict[str, str]]:
    """Serves an empty bucket; yields the environment of programs that are to see it as gs://.

    Args:
      folder: for the certificate.
      bucket: its name.
      requests: what programs ask of it is added here.
      only_listed: names that are in listings, of objects that there aren't.
    """
    certificate = _certificate(folder)
    with _emulator() as port:
        named = json.dumps({"name": bucket}).encode()
        _ask(port, "POST", "/storage/v1/b?project=p", named, {"Content-Type": "application/json"})
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, folder / "key.pem")
        seen = [] if requests is None else requests
        handler = _proxy(port, context, seen, only_listed)
        proxy = http.server.ThreadingHTTPServer(("localhost", 0), handler)
        threading.Thread(target=proxy.serve_forever, daemon=True).start()
        try:
            yield {
                "https_proxy": f"http://localhost:{proxy.server_port}",
                "no_proxy": "localhost",
                "STORAGE_EMULATOR_HOST": f"http://localhost:{proxy.server_port}",
                "CURL_CA_BUNDLE": str(certificate),
                "GOOGLE_AUTH_TOKEN_FOR_TESTING": "token",
                "EMULATOR_PORT": str(port),
            }
        finally:
            proxy.shutdown()
            proxy.server_close()


def names(port: str, bucket: str) -> list[str]:
    """Returns the names of all objects in a bucket."""
    answer = json.loads(_ask(int(port), "GET", f"/storage/v1/b/{bucket}/o")[2])
    return sorted(item["name"] for item in answer["items"])


def read(port: str, bucket: str, name: str) -> bytes:
    """Returns the content of an object."""
    return _ask(int(port), "GET", f"/{bucket}/{urllib.parse.quote(name)}")[2]


def write(port: str, bucket: str, name: str, content: bytes) -> None:
    """Writes an object."""
    if content:
        _ask(int(port), "PUT", f"/{bucket}/{urllib.parse.quote(name)}", content)
    else:
        query = urllib.parse.urlencode({"uploadType": "media", "name": name})
        _ask(int(port), "POST", *_nothing(f"/upload/storage/v1/b/{bucket}/o?{query}"))


def _nothing(path: str) -> tuple[str, bytes, dict[str, str]]:
    """Returns the path, body and headers that upload an empty object by an upload of several parts.

    As the only part, the emulator doesn't take it.
    """
    part = "--part\r\nContent-Type: application/json\r\n\r\n{}\r\n"
    body = f"{part.format('{}')}{part.format('')}--part--\r\n".encode()
    path = path.replace("uploadType=media", "uploadType=multipart")
    return path, body, {"Content-Type": "multipart/related; boundary=part"}


def _certificate(folder: pathlib.Path) -> pathlib.Path:
    path = folder / "certificate.pem"
    hosts = ",".join(f"DNS:{host}" for host in HOSTS)
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"),
            *("-subj", "/CN=test", "-addext", f"subjectAltName={hosts}"),
            *("-keyout", folder / "key.pem", "-out", path),
        ],
        check=True,
        capture_output=True,
    )
    return path


@contextlib.contextmanager
def _emulator() -> Iterator[int]:
    """Runs the emulator in a separate environment; yields its port."""
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    command = [UV, "tool", "run", "--quiet", "--from", EMULATOR, "gcp-storage-emulator", "start"]
    emulator = subprocess.Popen(
        [*command, "--host", "localhost", "--port", str(port), "--in-memory"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        deadline = time.monotonic() + SECONDS_TO_START
        while not _listens(port):
            if emulator.poll() is not None or time.monotonic() > deadline:
                needs.skip_without(EMULATOR, "it's installed from the package index")
            time.sleep(0.1)
        yield port
    finally:
        emulator.terminate()
        emulator.wait()


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("localhost", port)) == 0


def _ask(
    port: int, method: str, path: str, body: bytes = b"", headers: dict[str, str] | None = None
) -> tuple[int, dict[str, str], bytes]:
    connection = http.client.HTTPConnection("localhost", port)
    with contextlib.closing(connection):
        connection.request(method, path, body, headers or {})
        response = connection.getresponse()
        return response.status, dict(response.getheaders()), response.read()


def _list(content: bytes, url: str, only_listed: Sequence[str]) -> bytes:
    """Returns the page of a listing that is asked for, and not all."""
    query = dict(urllib.parse.parse_qsl(urllib.parse.urlsplit(url).query))
    answer = json.loads(content)
    names = [name for name in only_listed if name.startswith(query.get("prefix", ""))]
    if "delimiter" in query:
        below = len(query.get("prefix", ""))
        folders = {name[: name.index("/", below) + 1] for name in names if "/" in name[below:]}
        answer["prefixes"] = sorted({*answer.get("prefixes", ()), *folders})
        names = [name for name in names if "/" not in name[below:]]
    made_up = [{"name": name, "size": "1", "generation": "1"} for name in names]
    start, end = query.get("startOffset", ""), query.get("endOffset", "")
    items = sorted(answer.get("items", []) + made_up, key=operator.itemgetter("name"))
    items = [i for i in items if i["name"] >= start and (not end or i["name"] < end)]
    first = int(query.get("pageToken", 0))
    last = first + min(PAGE, int(query.get("maxResults", PAGE)))
    answer["items"] = items[first:last]
    if last < len(items):
        answer["nextPageToken"] = str(last)
    return json.dumps(answer).encode()


def _proxy(
    port: int, context: ssl.SSLContext, requests: list[Request], only_listed: Sequence[str]
) -> type[http.server.BaseHTTPRequestHandler]:
    class Proxy(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def do_CONNECT(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.connection = context.wrap_socket(self.connection, server_side=True)
            self.rfile = self.connection.makefile("rb")
            self.wfile = self.connection.makefile("wb", buffering=0)
            self.close_connection = False

        def forward(self) -> None:
            requests.append((self.command, self.path))
            body = self._chunks() if self._is_chunked() else self._body()
            headers = {
                name: self.headers[name]
                for name in ("Host", "Content-Type", "Content-Range", "Range")
                if name in self.headers
            }
            if "/storageLayout" in self.path:
                self._answer(200, {}, b'{"hierarchicalNamespace": {"enabled": false}}')
            elif "uploadType=media" in self.path and not body:
                self._answer(*_ask(port, "POST", *_nothing(self.path)))
            else:
                status, headers, content = _ask(port, self.command, self.path, body, headers)
                if self.command == "GET" and LISTING.match(self.path) and status == 200:
                    content = _list(content, self.path, only_listed)
                self._answer(status, headers, content)

        do_GET = do_POST = do_PUT = do_DELETE = do_PATCH = forward

        def _is_chunked(self) -> bool:
            return self.headers.get("Transfer-Encoding") == "chunked"

        def _body(self) -> bytes:
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))

        def _chunks(self) -> bytes:
            body = b""
            while size := int(self.rfile.readline(), 16):
                body += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
            return body

        def _answer(self, status: int, headers: dict[str, str], body: bytes) -> None:
            self.send_response(status)
            for name in ("Content-Type", "Content-Range", "Range", "Location"):
                if name in headers:
                    self.send_header(name, headers[name].replace("http://", "https://"))
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    return Proxy
