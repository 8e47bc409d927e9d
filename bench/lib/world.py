"""A world of the lab for a bench: boots it, hurts it, writes to it, and takes it down again.

A `Load` is `meridian lab load` beside the steps of the bench. Its ledger has a line, with the
wall clock, for every answer a client got; "first accepted write elsewhere" is read from there and
so includes all that a client had to go through to find the new home.
"""

import json
import os
import signal
import subprocess
import tempfile
import time

from figures import BUILD, ROOT, say, wait_until

MERIDIAN = os.path.join(BUILD, "meridian")


class World:
    def __init__(self, name, spec=None):
        self.dir = tempfile.mkdtemp(prefix="meridian-bench-%s-" % name)
        self.loads = []
        spec = spec or os.path.join(ROOT, "examples/shop/meridian.yaml")
        say("booting three regions in %s", self.dir)
        try:
            self.lab("up", "-f", spec, "--detach", "--fresh", "--wait", "120s")
            self.names = [r["name"] for r in self.status()["regions"]]
            self.wait_healthy(120)
        except BaseException:
            self.down()
            raise

    # ---- the command line ----

    def lab(self, command, *words, answer=False):
        done = subprocess.run([MERIDIAN, "lab", command, "--dir", self.dir] + list(words),
                              capture_output=True, text=True)
        if done.returncode != 0:
            raise RuntimeError("lab %s: %s" % (command, done.stderr.strip()))
        return json.loads(done.stdout) if answer else done.stdout

    def status(self):
        return self.lab("status", "--json", answer=True)

    def region(self, name):
        return next(r for r in self.status()["regions"] if r["name"] == name)

    def running(self):
        return [r for r in self.status()["regions"] if r["state"] == "running"]

    def meridian(self, region, *words):
        """The answer of that region's agent, or None when it gives none."""
        socket = region["agent_socket"]
        done = subprocess.run([MERIDIAN] + list(words) + ["--agent", socket, "--json"],
                              capture_output=True, text=True)
        return json.loads(done.stdout) if done.returncode == 0 and done.stdout else None

    def ask(self, *words):
        """The first answer of any running region."""
        for r in self.running():
            got = self.meridian(r, *words)
            if got is not None:
                return got
        return None

    def sql(self, region, query):
        """Rows, each a list of texts."""
        done = subprocess.run(["psql", "-XqAt", "-F", "\t", "-v", "ON_ERROR_STOP=1", "-c", query,
                               self.region(region)["pg"]["dsn"] + " connect_timeout=10"],
                              capture_output=True, text=True)
        if done.returncode != 0:
            raise RuntimeError("%s: %s" % (region, done.stderr.strip()))
        return [line.split("\t") for line in done.stdout.splitlines()]

    # ---- what it is like now ----

    def partitions(self):
        """{"accounts/all": "us-east-1", ...}: the homes, None for a vacant partition."""
        answer = self.ask("classes") or {"classes": []}
        return {"%s/%s" % (c["name"], p["name"]): p["home"] if p["state"] == "open" else None
                for c in answer["classes"] for p in c["partitions"]}

    def home(self, partition):
        return self.partitions().get(partition)

    def healthy(self):
        """Does every running region say that every region is healthy?"""
        regions = self.running()
        for r in regions:
            answer = self.meridian(r, "regions")
            if answer is None or any(x["health"] != "healthy" for x in answer["regions"]):
                return False
        return len(regions) == len(self.names)

    def wait_healthy(self, within_s):
        wait_until("all regions are healthy", within_s, self.healthy, 0.5)

    def receipts(self):
        answer = self.ask("receipts")
        return answer["receipts"] if answer else []

    def wait_receipts(self, within_s):
        """Until the tail of every region that was replaced is accounted for."""
        wait_until("all receipts are final", within_s,
                   lambda: all(r["final"] for r in self.receipts()), 0.5)

    def evidence(self):
        """When something went wrong: the last events and the states of the streams."""
        for r in self.running():
            links = self.meridian(r, "links")
            for link in links["links"] if links else []:
                if link["stream"]:
                    say("  %s > %s: %s", link["from"], link["to"], json.dumps(link["stream"]))
        events = self.ask("events")
        for e in events["events"][-30:] if events else []:
            say("  %d %s %s", e["wall_ms"], e["event"], e["text"])

    def down(self):
        for load in self.loads:
            load.kill()
        done = subprocess.run([MERIDIAN, "lab", "down", "--dir", self.dir, "--purge"],
                              capture_output=True, text=True)
        if done.returncode != 0:
            say("could not take down the lab in %s: %s", self.dir, done.stderr.strip())
        for name in os.listdir(self.dir) if os.path.isdir(self.dir) else []:
            path = os.path.join(self.dir, name)
            if os.path.isfile(path):
                os.unlink(path)
        if os.path.isdir(self.dir) and not os.listdir(self.dir):
            os.rmdir(self.dir)


def strict(verdict):
    """A bench judges when all is back: what then cannot be judged is not there."""
    verdict["missing"] += verdict["unjudged"]
    return verdict


class Load:
    """`meridian lab load` in the background; @classes by name."""

    count = 0

    def __init__(self, world, classes, *words):
        Load.count += 1
        self.world = world
        self.ledger = os.path.join(world.dir, "bench-ledger-%d.txt" % Load.count)
        self.out = open(os.path.join(world.dir, "bench-load-%d.json" % Load.count), "w+")
        self.err = open(os.path.join(world.dir, "bench-load-%d.err" % Load.count), "w+")
        command = [MERIDIAN, "lab", "load", "--dir", world.dir, "--json", "--ledger", self.ledger,
                   "--via", "sql"]
        for c in classes:
            command += ["--class", c]
        self.process = subprocess.Popen(command + list(words), stdout=self.out, stderr=self.err)
        world.loads.append(self)

    def stop(self):
        """No more writes; the verdict follows."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)

    def kill(self):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()

    def verdict(self, within_s=180):
        """Wait for the end. What `lab load --json` prints; missing writes are in there."""
        self.process.wait(within_s)
        self.out.seek(0)
        self.err.seek(0)
        text = self.out.read()
        if not text:
            raise RuntimeError("lab load: " + self.err.read().strip())
        answer = json.loads(text)
        strict(answer["verdict"])
        return answer

    def writes(self):
        return Ledger(self.ledger)


def check(world, ledger, settle="60s"):
    """Hold an earlier ledger against the regions as they are now; the verdict's object."""
    done = subprocess.run([MERIDIAN, "lab", "load", "--dir", world.dir, "--check", "--ledger", ledger,
                           "--settle", settle, "--json"], capture_output=True, text=True)
    if not done.stdout:
        raise RuntimeError("lab load --check: " + done.stderr.strip())
    return strict(json.loads(done.stdout)["verdict"])


class Ledger:
    """What clients were told, from the ledger's file (its format: lab/ledger.h)."""

    def __init__(self, path):
        self.tag, self.partition_of, self.acks, self.acked = "", {}, [], set()
        try:
            with open(path) as f:
                lines = f.read().split("\n")
        except FileNotFoundError:
            lines = [""]
        for line in lines[:-1]:  # a torn last line is not there yet
            words = line.split(" ")
            if words[0] == "run":
                self.tag = words[1]
            elif words[0] == "I":
                self.partition_of[words[4]] = (words[2], words[3])
            elif words[0] == "A":
                self.acks.append((int(words[1]) / 1000.0, words[2], words[3]))
                self.acked.add(words[2])

    def first_elsewhere(self, after_wall_ms, old_home):
        """{(class, partition): wall_ms} of the first write accepted by another region."""
        first = {}
        for wall_ms, ident, region in self.acks:
            key = self.partition_of[ident]
            if wall_ms > after_wall_ms and region != old_home and key not in first:
                first[key] = wall_ms
        return first

    def acked_of(self, classes):
        return {i for i in self.acked if self.partition_of[i][0] in classes}


PRESENT = {
    "accounts": "SELECT id FROM shop.accounts WHERE name = '%s'",
    "orders": "SELECT id FROM shop.orders WHERE account::text = '%s'",
    "events": "SELECT id FROM shop.events WHERE kind = '%s'",
}


def lost(world, ledger, classes):
    """Acknowledged writes of @classes that some region lacks, whatever reconcile holds."""
    acked = ledger.acked_of(classes)
    missing = set()
    for r in world.running():
        have = set()
        for c in classes:
            have |= {row[0] for row in world.sql(r["name"], PRESENT[c] % ledger.tag)}
        missing |= acked - have
    return missing


TABLES = ("shop.products", "shop.accounts", "shop.orders", "shop.order_lines", "shop.events")


def differing(world, within_s=30):
    """Tables of which the regions hold different rows, after some time to converge."""
    def different():
        found = []
        for table in TABLES:
            query = ("SELECT count(*), md5(string_agg(md5(t::text), '' ORDER BY md5(t::text))) "
                     "FROM %s t" % table)
            if len({str(world.sql(r["name"], query)) for r in world.running()}) > 1:
                found.append(table)
        return found
    end = time.monotonic() + within_s
    got = different()
    while got and time.monotonic() < end:
        time.sleep(1)
        got = different()
    return got


def wall_ms():
    return time.time() * 1000.0
