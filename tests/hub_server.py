"""A Hub of its own: repositories in memory behind the part of the Hub's HTTP interface that huggingface_hub uses.

Whatever a real Hub, or the network before it, may do wrong can be switched on, so that the real client meets it.
"""

import base64
import hashlib
import json
import re
import socket
import struct
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace
from urllib.parse import parse_qs, unquote, urlsplit

READER, WRITER = "hf_reader" + "r" * 28, "hf_writer" + "w" * 28
LARGE = (".safetensors", ".ckpt", ".bin")


def sha256(content):
    return hashlib.sha256(content).hexdigest()


def git_sha1(content):
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


class Repository:
    """Files at commits, and what branches and tags are."""

    def __init__(self, name, kind, private, gated):
        self.name, self.kind, self.private, self.gated = name, kind, private, gated
        self.commits, self.branches, self.tags, self.ignored = {}, {}, {}, set()
        self.commit({})

    def commit(self, files, branch="main"):
        commit = hashlib.sha1(f"{self.name} {len(self.commits)} {sorted(files)}".encode()).hexdigest()
        self.commits[commit] = dict(files)
        self.branches[branch] = commit
        return commit

    @property
    def files(self):
        return self.commits[self.branches["main"]]

    def find(self, revision):
        revision = self.branches.get(revision) or self.tags.get(revision) or revision
        return revision if revision in self.commits else None

    def api(self):
        return f"/api/{self.kind}s/{self.name}"


class Fault:
    """Something that goes wrong for requests whose "METHOD path" matches a pattern, some times or always."""

    def __init__(self, what, where, times, **details):
        self.what, self.where, self.times = what, re.compile(where), times
        self.details = SimpleNamespace(**details)

    def hits(self, request):
        if self.times == 0 or not self.where.search(f"{request.method} {request.path}"):
            return False
        self.times -= 1
        return True


class HubServer:
    """The server; a context manager. `requests` records what was asked of it."""

    def __init__(self):
        self.release, self.lock = threading.Event(), threading.Lock()
        self.reset()
        handler = type("BoundHandler", (Handler,), {"hub": self})
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._server.daemon_threads, self._server.block_on_close = True, False
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)
        self.port = self._server.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self.storage = f"http://localhost:{self.port}"  # another origin, as the storage behind the real Hub is

    def reset(self):
        """As it is at the beginning: nothing there, nothing switched on."""
        self.release.set()
        self.release = threading.Event()
        self.repositories, self.blobs, self.requests, self.faults, self.pauses = {}, {}, [], [], []
        self.accounts = {READER: "reader", WRITER: "writer"}
        self.writers, self.members = {WRITER}, set()  # who may write, who was let into gated repositories
        self.page_size = 1000

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self.release.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def add(self, name, files=(), kind="model", *, private=False, gated=False, tag=None):
        """Commit files to a repository, made if there is none; the commit."""
        found = self.repositories.setdefault((kind, name), Repository(name, kind, private, gated))
        commit = found.commit({**found.files, **dict(files)}) if files else found.branches["main"]
        for content in dict(files).values():
            self.blobs[sha256(content)] = content
        if tag:
            found.tags[tag] = commit
        return commit

    def files(self, name, kind="model"):
        return self.repositories[kind, name].files

    def asked(self, pattern):
        """Recorded requests whose "METHOD path" matches."""
        return [one for one in self.requests if re.search(pattern, f"{one.method} {one.path}")]

    def bodies(self):
        """Recorded requests for the content of files."""
        return self.asked(r"^GET /(storage/|.*/resolve/)")

    # ---- the switches; where: pattern of "METHOD path", times: how often, -1 for always

    def answer(self, status, where=".", times=-1, headers=(), body=b""):
        """An answer without asking further: 401, 403, 404, 429, 503 ..."""
        self.faults.append(Fault("answer", where, times, status=status, headers=dict(headers), body=body))

    def drop(self, where="^GET /storage/", times=-1, after=0.5, reset=False):
        """The connection is closed when a part of the body is sent; by a reset if so wished."""
        self.faults.append(Fault("drop", where, times, after=after, reset=reset))

    def corrupt(self, where="^GET /storage/", times=-1):
        """A body of the same size with other content."""
        self.faults.append(Fault("corrupt", where, times))

    def truncate(self, where="^GET /storage/", times=-1):
        """A shorter body that claims to be all."""
        self.faults.append(Fault("truncate", where, times))

    def lose(self, where, times=-1):
        """The request is done, and the connection closed without an answer."""
        self.faults.append(Fault("lose", where, times))

    def stall(self, where="^GET /storage/", times=-1, seconds=5.0):
        """Silence instead of an answer, or after a part of a file."""
        self.faults.append(Fault("stall", where, times, seconds=seconds))

    def fault(self, request):
        with self.lock:
            return next((one for one in self.faults if one.hits(request)), None)


class Refused(Exception):
    def __init__(self, status, code="", message=""):
        self.status, self.headers = status, {}
        if code:
            self.headers["X-Error-Code"] = code
        if message:
            self.headers["X-Error-Message"] = message


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    hub: HubServer

    def log_message(self, *_):
        pass

    def setup(self):
        super().setup()
        # small answers go at once, not when the client has confirmed the one before
        self.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def handle_one_request(self):
        try:
            super().handle_one_request()
        except ConnectionError:
            self.close_connection = True

    def answer_request(self):
        parts = urlsplit(self.path)
        self.asked = SimpleNamespace(
            method=self.command,
            path=unquote(parts.path),
            query=parse_qs(parts.query),
            headers={key.lower(): value for key, value in self.headers.items()},
            host=self.headers.get("Host", ""),
            authorised="authorization" in {key.lower() for key in self.headers},
        )
        self.content = b"".join(self.received())
        self.hub.requests.append(self.asked)
        self.broken = self.hub.fault(self.asked)
        if self.broken is not None and self.broken.what == "answer":
            details = self.broken.details
            self.send(details.status, details.body, details.headers)
            return
        try:
            self.route(parts)
        except Refused as refused:
            self.send(refused.status, b"", refused.headers)

    do_GET = do_HEAD = do_POST = do_PUT = answer_request

    def route(self, parts):
        path = parts.path
        self.token = self.headers.get("Authorization", "").removeprefix("Bearer ")
        if self.token and self.token not in self.hub.accounts:
            raise Refused(401, message="Invalid credentials in Authorization header")
        for pattern, method in ROUTES:
            match = re.fullmatch(pattern, f"{self.command} {path}")
            if match:
                found = {key: None if text is None else unquote(text) for key, text in match.groupdict().items()}
                getattr(self, method)(**found)
                return
        raise Refused(404)

    def received(self):
        """The body of the request, whole or in chunks."""
        if self.headers.get("Transfer-Encoding") != "chunked":
            yield self.rfile.read(int(self.headers.get("Content-Length") or 0))
            return
        size = -1
        while size:
            size = int(self.rfile.readline(), 16)
            yield self.rfile.read(size)
            self.rfile.readline()

    # ---- answers

    def send(self, status, body=b"", headers=()):
        if self.broken is not None and self.broken.what in ("lose", "stall"):
            self.hub.release.wait(getattr(self.broken.details, "seconds", 0))
            self.hang_up()
            return
        headers = dict(headers)
        if isinstance(body, (dict, list)):
            body = json.dumps(body).encode()
            headers.setdefault("Content-Type", "application/json")
        self.send_response(status)
        for key, value in headers.items():
            self.send_header(key, value)
        self.send_header("Content-Length", headers.pop("Content-Length", None) or str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def hang_up(self, reset=False):
        if reset:
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        else:
            self.connection.shutdown(socket.SHUT_RDWR)
        self.close_connection = True

    def send_file(self, content, headers):
        """The content, or a range of it, or what a switch makes of it."""
        status, start = 200, 0
        asked = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        if asked and int(asked[1]) < len(content):
            status, start = 206, int(asked[1])
            headers = {**headers, "Content-Range": f"bytes {start}-{len(content) - 1}/{len(content)}"}
        body = content[start:]
        broken = self.broken.what if self.broken is not None and self.command == "GET" else ""
        if broken == "corrupt":
            body = bytes(byte ^ 0x5A for byte in body)
        elif broken == "truncate":
            body = body[: len(body) // 2]
        if broken not in ("drop", "stall"):
            self.send(status, body, headers)
            return
        self.send_response(status)
        for key, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(key, value)
        self.end_headers()
        details = self.broken.details
        self.wfile.write(body[: int(len(body) * getattr(details, "after", 0.5))])
        self.wfile.flush()
        self.hub.release.wait(getattr(details, "seconds", 0))
        self.hang_up(getattr(details, "reset", False))

    # ---- repositories

    def repository(self, kind, name, *, write=False, content=False):
        found = self.hub.repositories.get((kind, name))
        hidden = found is not None and found.private and not self.token
        if found is None or hidden:
            message = "Repository not found" if self.token else "Invalid username or password."
            raise Refused(404 if self.token else 401, "RepoNotFound", message)
        if write and self.token not in self.hub.writers:
            raise Refused(403 if self.token else 401, message="You don't have the required permissions")
        if content and found.gated and self.token not in self.hub.members:
            raise Refused(403 if self.token else 401, "GatedRepo", f"Access to {name} is restricted")
        return found

    def commit_of(self, found, revision):
        commit = found.find(revision or "main")
        if commit is None:
            raise Refused(404, "RevisionNotFound", f"Invalid rev id: {revision}")
        return commit

    def whoami(self):
        if not self.token:
            raise Refused(401, message="Invalid username or password.")
        self.send(200, {"type": "user", "name": self.hub.accounts[self.token]})

    def info(self, kind, name, revision=None):
        found = self.repository(kind, name)
        commit = self.commit_of(found, revision)
        siblings = []
        for path, content in found.commits[commit].items():
            one = {"rfilename": path}
            if "blobs" in self.asked.query:
                one |= {"size": len(content), "blobId": git_sha1(content)}
                if path.endswith(LARGE):
                    one |= {"blobId": git_sha1(b"pointer"), "lfs": self.pointer(content)}
            siblings.append(one)
        self.send(200, {"id": name, "sha": commit, "private": found.private, "siblings": siblings, "tags": []})

    def pointer(self, content):
        return {"sha256": sha256(content), "size": len(content), "pointerSize": 130}

    def tree(self, kind, name, revision, folder=None):
        found = self.repository(kind, name)
        files = found.commits[self.commit_of(found, revision)]
        start = int(self.asked.query.get("cursor", ["0"])[0])
        entries = []
        for path, content in sorted(files.items())[start : start + self.hub.page_size]:
            one = {"type": "file", "path": path, "size": len(content), "oid": git_sha1(content)}
            if path.endswith(LARGE):
                one["lfs"] = {"oid": sha256(content), "size": len(content), "pointerSize": 130}
            entries.append(one)
        more = start + self.hub.page_size
        address = f"{self.hub.url}{found.api()}/tree/{revision}?recursive=True&cursor={more}"
        self.send(200, entries, {"Link": f'<{address}>; rel="next"'} if more < len(files) else {})

    def refs(self, kind, name):
        found = self.repository(kind, name)
        lists = {"branches": (found.branches, "heads"), "tags": (found.tags, "tags")}
        named = {
            key: [{"name": one, "ref": f"refs/{folder}/{one}", "targetCommit": to} for one, to in refs.items()]
            for key, (refs, folder) in lists.items()
        }
        self.send(200, {**named, "converts": [], "pullRequests": []})

    def resolve(self, kind, name, revision, path):
        found = self.repository("dataset" if kind else "model", name, content=True)
        commit = self.commit_of(found, revision)
        headers = {"X-Repo-Commit": commit}
        content = found.commits[commit].get(path)
        if content is None:
            self.send(404, b"", {**headers, "X-Error-Code": "EntryNotFound", "X-Error-Message": "Entry not found"})
            return
        if not path.endswith(LARGE):
            self.send_file(content, {**headers, "ETag": f'"{git_sha1(content)}"', "Accept-Ranges": "bytes"})
            return
        digest = sha256(content)
        headers |= {"X-Linked-Etag": f'"{digest}"', "X-Linked-Size": str(len(content)), "ETag": f'"{digest}"'}
        headers |= {"X-Xet-Hash": digest, "Link": f'<{self.hub.url}/no-xet>; rel="xet-auth"'}
        self.send(302, b"", {**headers, "Location": f"{self.hub.storage}/storage/{digest}?Signature=s"})

    def stored(self, digest):
        self.send_file(self.hub.blobs[digest], {"ETag": f'"{digest}"', "Accept-Ranges": "bytes"})

    # ---- pushing

    def create(self):
        asked = json.loads(self.content)
        if self.token not in self.hub.writers:
            raise Refused(403 if self.token else 401, message="You don't have the rights to create a repository")
        name, kind = f"{asked['organization']}/{asked['name']}", asked.get("type", "model")
        address = f"{self.hub.url}/{'datasets/' if kind == 'dataset' else ''}{name}"
        there = (kind, name) in self.hub.repositories
        if not there:
            self.hub.add(name, kind=kind, private=asked.get("visibility") == "private")
        self.send(409 if there else 200, {"url": address})

    def validate(self):
        asked = json.loads(self.content)["content"]
        wrong = "licence: [" in asked
        self.send(400 if wrong else 200, {"errors": [{"message": "bad YAML"}] if wrong else [], "warnings": []})

    def preupload(self, kind, name, revision):
        found = self.repository(kind, name, write=True)
        there = found.commits[self.commit_of(found, revision)]
        files = []
        for one in json.loads(self.content)["files"]:
            path, known = one["path"], there.get(one["path"])
            large = path.endswith(LARGE)
            oid = None if known is None else sha256(known) if large else git_sha1(known)
            mode = "lfs" if large else "regular"
            files.append({"path": path, "uploadMode": mode, "shouldIgnore": path in found.ignored, "oid": oid})
        self.send(200, {"files": files})

    def batch(self, kind, name):
        self.repository("dataset" if kind else "model", name, write=True)
        objects = []
        for one in json.loads(self.content)["objects"]:
            known = {"oid": one["oid"], "size": one["size"]}
            if one["oid"] not in self.hub.blobs:
                put = f"{self.hub.storage}/storage/{one['oid']}?Signature=s"
                verify = f"{self.hub.url}/verify"
                known["actions"] = {"upload": {"href": put}, "verify": {"href": verify}}
            objects.append(known)
        self.send(200, {"transfer": "basic", "objects": objects})

    def store(self, digest):
        if sha256(self.content) != digest:
            raise Refused(400, message="The content does not match its checksum")
        self.hub.blobs[digest] = self.content
        self.send(200)

    def verify(self):
        asked = json.loads(self.content)
        known = self.hub.blobs.get(asked["oid"])
        self.send(200 if known is not None and len(known) == asked["size"] else 404)

    def commit(self, kind, name, revision):
        found = self.repository(kind, name, write=True)
        files = dict(found.commits[self.commit_of(found, revision)])
        for line in self.content.decode().splitlines():
            one = json.loads(line)
            value = one["value"]
            if one["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif one["key"] == "lfsFile":
                files[value["path"]] = self.hub.blobs[value["oid"]]
            elif one["key"] == "deletedFile":
                del files[value["path"]]
        commit = found.commit(files, revision)
        self.send(200, {"success": True, "commitOid": commit, "commitUrl": f"{self.hub.url}/{name}/commit/{commit}"})


_REPO = r"/api/(?P<kind>model|dataset)s/(?P<name>[^/]+/[^/]+)"
_FILES = r"/(?P<kind>datasets/)?(?P<name>[^/]+/[^/]+)"
ROUTES = [
    (r"GET /api/whoami-v2", "whoami"),
    (rf"GET {_REPO}", "info"),
    (rf"GET {_REPO}/revision/(?P<revision>[^/]+)", "info"),
    (rf"GET {_REPO}/tree/(?P<revision>[^/]+)(?:/(?P<folder>.+))?", "tree"),
    (rf"GET {_REPO}/refs", "refs"),
    (rf"(?:GET|HEAD) {_FILES}/resolve/(?P<revision>[^/]+)/(?P<path>.+)", "resolve"),
    (r"(?:GET|HEAD) /storage/(?P<digest>\w+)", "stored"),
    (r"POST /api/repos/create", "create"),
    (r"POST /api/validate-yaml", "validate"),
    (rf"POST {_REPO}/preupload/(?P<revision>[^/]+)", "preupload"),
    (rf"POST {_FILES}\.git/info/lfs/objects/batch", "batch"),
    (r"PUT /storage/(?P<digest>\w+)", "store"),
    (r"POST /verify", "verify"),
    (rf"POST {_REPO}/commit/(?P<revision>[^/]+)", "commit"),
]
