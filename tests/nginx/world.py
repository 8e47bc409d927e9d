"""Three regions on loopback for the tests of the edge module.

Each region is a real nginx with the shop's own configuration template, a snapshot file written
by the same code that the agent uses, and a small application that notes what reaches it. The
application is the only part that is ours: it can be told to fail in the ways that matter.

Ports: 1808x public edge, 1809x edge to edge, 1810x application; x is the region's number.
"""

import hashlib
import http.client
import http.server
import json
import os
import shutil
import signal
import socket
import ssl
import subprocess
import tempfile
import threading
import time

ROOT = os.path.realpath(os.path.join(os.path.dirname(__file__), "..", ".."))
BUILD = os.path.join(ROOT, os.environ.get("BUILD", "build"))
REGIONS = ["us-east-1", "eu-west-1", "ap-northeast-1"]
US, EU, AP = REGIONS
KEY = "5d" * 32


# What the shop has no use for, but the module can do.
MORE_LOCATIONS = """
location /strong { meridian_class accounts; meridian_read home; proxy_pass https://shop; }
location /search { meridian_class accounts; meridian_write off; proxy_pass https://shop; }
location /legacy { meridian_class accounts; meridian_write on; proxy_pass https://shop; }
location /narrow { meridian_class accounts; meridian_write PUT; proxy_pass https://shop; }
location /silent { meridian_class accounts; meridian_token off; proxy_pass https://shop; }
location ~ ^/keyed/(?<keyed_by>[^/]+) {
    meridian_class orders;
    meridian_key   $keyed_by;
    proxy_pass     https://shop;
}
location /nowhere { meridian_class nothing; proxy_pass https://shop; }
location /stream {
    meridian_class accounts;
    proxy_request_buffering off;
    proxy_pass https://shop;
}
"""


class Application:
    """An HTTP/1.1 server that remembers its requests."""

    def __init__(self, region, port):
        self.region, self.port = region, port
        self.requests, self.connections, self.open = [], 0, set()
        self.status, self.behaviour = 200, "answer"
        self.server = None

    def start(self):
        app = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version, disable_nagle_algorithm = "HTTP/1.1", True

            def setup(self):
                super().setup()
                app.connections += 1
                app.open.add(self.connection)

            def finish(self):
                app.open.discard(self.connection)
                super().finish()

            def serve(self):
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                app.requests.append({
                    "method": self.command, "path": self.path, "length": len(body),
                    "sha": hashlib.sha256(body).hexdigest(), "headers": dict(self.headers)})
                if app.behaviour == "close":
                    self.close_connection = True
                    self.connection.shutdown(socket.SHUT_RDWR)
                    return
                answer = json.dumps({"region": app.region}).encode()
                self.send_response(app.status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(answer)

            do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = do_PURGE = do_OPTIONS = serve

            def log_message(self, *args):
                pass

        class Server(http.server.ThreadingHTTPServer):
            allow_reuse_address, daemon_threads = True, True

            def handle_error(self, *args):
                pass

        self.server = Server(("127.0.0.1", self.port), Handler)
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()

    def stop(self):
        if self.server:
            self.server.shutdown()
            self.server.server_close()
            for c in list(self.open):
                c.shutdown(socket.SHUT_RDWR)
            self.server = None


class Response:
    def __init__(self, r):
        self.status = r.status
        self.body = r.read()
        self.headers = r.getheaders()

    def get(self, name):
        return ", ".join(v for k, v in self.headers if k.lower() == name.lower())

    def all(self, name):
        return [v for k, v in self.headers if k.lower() == name.lower()]

    @property
    def region(self):
        return json.loads(self.body)["region"]


class Region:
    def __init__(self, world, name, number):
        self.world, self.name, self.number = world, name, number
        self.public, self.peer, self.app_port = 18080 + number, 18090 + number, 18100 + number
        self.dir = os.path.join(world.dir, name)
        self.app = Application(name, self.app_port)
        self.nginx = None
        for d in ("run", "state/nginx", "log"):
            os.makedirs(os.path.join(self.dir, d))
        self.snapshot = os.path.join(self.dir, "run", "snapshot")
        for file in ("nginx.conf", "nginx-shop.conf"):
            self.render(file)

    def render(self, file):
        with open(os.path.join(ROOT, "examples/shop", file + ".in")) as f:
            text = f.read()
        for key, value in {
                "@REGION@": self.name, "@RUN@": self.dir + "/run", "@STATE@": self.dir + "/state",
                "@CERTS@": os.path.join(self.world.dir, "certs", self.name),
                "@MODULES@": BUILD + "/nginx", "@LOG@": self.dir + "/log",
                "        listen [::]:8080;\n": "", "listen 8080": "listen 127.0.0.1:%d" % self.public,
                "listen 8443": "listen 127.0.0.1:%d" % self.peer,
                "127.0.0.1:9000": "127.0.0.1:%d" % self.app_port}.items():
            text = text.replace(key, value)
        if file == "nginx-shop.conf":
            text += MORE_LOCATIONS
        with open(os.path.join(self.dir, "state/nginx", file), "w") as f:
            f.write(text)

    def start(self):
        user = "user root; " if os.getuid() == 0 else ""
        self.nginx = subprocess.Popen(
            ["/usr/sbin/nginx", "-c", self.dir + "/state/nginx/nginx.conf", "-g",
             user + "daemon off;"], stderr=subprocess.DEVNULL)
        for _ in range(200):
            try:
                socket.create_connection(("127.0.0.1", self.public), 1).close()
                return
            except OSError:
                time.sleep(0.02)
        raise RuntimeError("nginx of %s did not start: %s" % (self.name, self.log()))

    def stop(self):
        if self.nginx:
            self.nginx.terminate()
            self.nginx.wait(10)
            self.nginx = None

    def log(self):
        with open(self.dir + "/log/nginx-error.log") as f:
            return f.read()

    def reload(self):
        """New workers with the same configuration; the old one ends when it is idle."""
        old = self.worker()
        self.nginx.send_signal(signal.SIGHUP)
        for _ in range(200):
            if self.worker() != old:
                return
            time.sleep(0.02)
        raise RuntimeError("nginx of %s does not reload" % self.name)

    def worker(self):
        """Pid of nginx's worker."""
        with open("/proc/%d/task/%d/children" % (self.nginx.pid, self.nginx.pid)) as f:
            return max(int(pid) for pid in f.read().split())

    def publish(self, **changes):
        """Write a snapshot as this region sees the world, with changes for it alone."""
        state = {**self.world.state, **changes}
        lines = ["self " + self.name, "key " + state["key"], "session 7",
                 "lease_ms 60000", "age_ms %d" % state["age_ms"]]
        for r in self.world.regions.values():
            rank = [r.name] + [n for n in REGIONS if n != r.name]
            lines.append("region %s edge=%s health=%s dial=%d rank=%s applied=%s" % (
                r.name, state["edges"].get(r.name, "127.0.0.1:%d" % r.peer),
                state["health"].get(r.name, "healthy"), state["dial"].get(r.name, 100),
                ",".join(rank), state["applied"].get(r.name, "0:0")))
        every = ",".join(REGIONS)
        for name, posture, durability in (("catalog", "read-local", "async"),
                                          ("accounts", "active-passive", "quorum"),
                                          ("orders", "partitioned", "quorum")):
            acks = " acks=1" if durability == "quorum" else ""
            lines.append("class %s %s %s replicas=%s allowed=%s%s" % (
                name, posture, durability, every, every, acks))
            for p in REGIONS if posture == "partitioned" else ["all"]:
                key = name + "/" + p
                home = state["homes"].get(key, p if p in REGIONS else US)
                lines.append("partition %s %s home=%s epoch=%d state=%s %s" % (
                    name, p, home, state["epochs"].get(key, 1),
                    state["states"].get(key, "open"), state["closed"].get(key, "")))
        done = subprocess.run([BUILD + "/tests/lib/snapwrite", self.snapshot],
                              input="\n".join(lines) + "\n", text=True, capture_output=True)
        if done.returncode != 0:
            raise RuntimeError(done.stderr)
        return int(done.stdout)

    def wait_for(self, generation):
        """Until nginx has seen that generation; it looks for new files once a second."""
        for _ in range(150):
            if json.loads(self.request("GET", "/meridian/health").body)["generation"] == generation:
                return
            time.sleep(0.02)
        raise RuntimeError("nginx of %s does not read its snapshot: %s" % (self.name, self.log()))

    def request(self, method, path, body=None, headers=None, connection=None):
        c = connection or http.client.HTTPConnection("127.0.0.1", self.public, timeout=15)
        c.request(method, path, body, headers or {})
        r = Response(c.getresponse())
        if not connection:
            c.close()
        return r

    def raw(self, data, then=b""):
        """Send bytes as they are, and more once an interim answer has come; all that comes back."""
        with socket.create_connection(("127.0.0.1", self.public), 15) as c:
            c.settimeout(15)
            c.sendall(data)
            got = b""
            while True:
                more = c.recv(65536)
                if not more:
                    return got
                got += more
                if then and b" 100 " in got:
                    c.sendall(then)
                    then = b""

    def peer_request(self, as_region, method, path, headers=None):
        """As another region's edge would, or anybody (as_region None) without a certificate."""
        context = ssl.create_default_context(cafile=self.world.dir + "/certs/ca.crt")
        if as_region:
            own = self.world.dir + "/certs/" + as_region
            context.load_cert_chain(own + "/node.crt", own + "/node.key")
        context.check_hostname = False
        c = http.client.HTTPSConnection("127.0.0.1", self.peer, timeout=5, context=context)
        c.request(method, path, None, headers or {})
        r = Response(c.getresponse())
        c.close()
        return r


class World:
    def __init__(self):
        self.dir = tempfile.mkdtemp(prefix="meridian-nginx-")
        os.chmod(self.dir, 0o755)
        done = subprocess.run([BUILD + "/meridian", "certs", self.dir + "/certs"] + REGIONS,
                              text=True, capture_output=True)
        if done.returncode != 0:
            raise RuntimeError(done.stderr)
        self.regions = {}
        for i, name in enumerate(REGIONS):
            self.regions[name] = Region(self, name, i + 1)
        self.us, self.eu, self.ap = (self.regions[n] for n in REGIONS)
        self.calm()

    def calm(self):
        """Everything healthy, homes as in the example world, nothing applied from anywhere."""
        self.state = {"key": KEY, "age_ms": 0, "edges": {}, "health": {}, "dial": {},
                      "applied": {}, "homes": {}, "epochs": {}, "states": {}, "closed": {}}

    def publish(self, **changes):
        for r in self.regions.values():
            r.publish(**changes)

    def start(self):
        self.publish()
        for r in self.regions.values():
            r.app.start()
            r.start()

    def settle(self):
        """Between tests: all parts running, states calm, nothing noted."""
        self.calm()
        for r in self.regions.values():
            if not r.app.server:
                r.app.start()
            if not r.nginx:
                r.start()
            r.app.status, r.app.behaviour = 200, "answer"
        for r in self.regions.values():
            r.wait_for(r.publish())
            r.app.requests.clear()

    def executed(self):
        """Requests that reached any application."""
        return sum(len(r.app.requests) for r in self.regions.values())

    def stop(self):
        for r in self.regions.values():
            r.stop()
            r.app.stop()
        shutil.rmtree(self.dir)
