"""PostgreSQL 15 servers of a bench, on the real disk with fsync, with or without Meridian.

The scripts run themselves again inside tests/lib/pgenv, where PostgreSQL finds the build's
extension as if it were installed. Both kinds of server get the same settings; only the preloaded
library and Meridian's own settings differ.
"""

import os
import shutil
import subprocess
import sys
import tempfile
import time

from figures import BUILD, ROOT, wait_until

SETTINGS = """
listen_addresses = ''
unix_socket_directories = '%(dir)s'
wal_level = logical
track_commit_timestamp = on
synchronous_commit = local
fsync = on
shared_buffers = 128MB
max_worker_processes = 16
max_wal_senders = 8
max_replication_slots = 16
"""

# Regions and classes as the example world has them, all at home here, with a lease to spare.
WORLD = """self us
session 5
lease_ms 60000
region us session=5
region eu session=5
region ap session=5
class schema read-local async replicas=us,eu,ap
partition schema all home=us epoch=1
class accounts active-passive quorum replicas=us,eu,ap acks=1
partition accounts all home=us epoch=1
class events active-passive async replicas=us,eu,ap
partition events all home=us epoch=1
class orders partitioned async replicas=us,eu,ap
partition orders us home=us epoch=1
partition orders eu home=eu epoch=1
partition orders ap home=ap epoch=1
"""


def inside_pgenv():
    """Run this very script again where the build's extension is installed."""
    if "PG_BUILD" not in os.environ:
        pgenv = os.path.join(ROOT, "tests/lib/pgenv")
        os.execv(pgenv, [pgenv, "-b", BUILD, sys.executable] + sys.argv)


def as_postgres(*words):
    return ["setpriv", "--reuid=postgres", "--regid=postgres", "--init-groups"] + list(words)


def directory(name):
    """A directory of this run on the disk under /var/tmp, readable by the servers."""
    d = tempfile.mkdtemp(prefix="meridian-bench-%s-" % name)
    os.chmod(d, 0o755)
    return d


class Server:
    """One cluster. @settings are lines of postgresql.conf; Meridian's are among them."""

    def __init__(self, root, name, settings=""):
        self.name = name
        self.dir = os.path.join(root, name)
        self.bin = os.environ["PG_BIN"]
        os.mkdir(self.dir)
        shutil.chown(self.dir, "postgres", "postgres")
        self.run(self.bin + "/initdb", "-D", self.dir + "/data", "-A", "trust", "-E", "UTF8",
                 "--locale=C.UTF-8")
        with open(self.dir + "/data/postgresql.conf", "a") as f:
            f.write(SETTINGS % {"dir": self.dir})
            f.write(settings)
        self.log = open(self.dir + "/log", "w")
        self.process = subprocess.Popen(
            as_postgres(self.bin + "/postgres", "-D", self.dir + "/data"), stdout=self.log,
            stderr=self.log)
        wait_until("%s accepts connections" % name, 30, self.accepts)

    def accepts(self):
        if self.process.poll() is not None:
            raise RuntimeError(open(self.dir + "/log").read()[-2000:])
        return subprocess.run(["psql", "-XqAt", "-h", self.dir, "-U", "postgres", "-c", "SELECT 1"],
                              capture_output=True).returncode == 0

    def run(self, *words):
        done = subprocess.run(as_postgres(*words), capture_output=True, text=True, cwd="/")
        if done.returncode != 0:
            raise RuntimeError("%s: %s" % (" ".join(words), done.stderr[-2000:]))
        return done.stdout

    def sql(self, *statements, database="app"):
        words = ["psql", "-XqAt", "-v", "ON_ERROR_STOP=1", "-h", self.dir, "-U", "postgres", "-d",
                 database]
        for s in statements:
            words += ["-c", s]
        done = subprocess.run(words, capture_output=True, text=True)
        if done.returncode != 0:
            raise RuntimeError("%s: %s" % (self.name, done.stderr.strip()))
        return done.stdout.strip()

    def stop(self):
        if self.process.poll() is None:
            self.process.send_signal(2)  # SIGINT: fast shutdown
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                self.process.send_signal(3)  # SIGQUIT: immediate
                self.process.wait(20)
        self.log.close()


class Snapshot:
    """A region's snapshot, published ten times a second as by its agent."""

    def __init__(self, path, text):
        self.process = subprocess.Popen([BUILD + "/tests/lib/snapwrite", path, "--keep"],
                                        stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)
        self.process.stdin.write(text)
        self.process.stdin.close()
        wait_until("the snapshot is there", 5, lambda: os.path.exists(path), 0.02)
        os.chmod(path, 0o644)
        time.sleep(0.2)

    def stop(self):
        self.process.kill()
        self.process.wait()


def meridian_settings(region, snapshot, libraries):
    """What is different in a server with Meridian."""
    lines = ["shared_preload_libraries = 'meridian'", "meridian.region = '%s'" % region,
             "meridian.snapshot_file = '%s'" % snapshot]
    if libraries:
        lines.append("output_plugin_libraries = 'pgoutput, meridian'")
    return "\n".join(lines) + "\n"


def guards_libraries():
    """Does this minor release load only the output plugins that it is told of?"""
    text = subprocess.run([os.environ["PG_BIN"] + "/postgres", "--describe-config"],
                          capture_output=True, text=True,
                          preexec_fn=lambda: os.setuid(65534)).stdout
    return "output_plugin_libraries" in text
