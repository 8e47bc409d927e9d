"""What every bench here shares: figures with their target, one table line or one JSON object.

A bench measures, then says what it measured: progress goes to stderr, the figures to stdout, as
one line each (name, measured, target, command) or with --json as one object. A figure never
decides an exit status by being slow; a bench fails only when it could not measure.
"""

import argparse
import json
import os
import signal
import statistics
import sys
import time

ROOT = os.path.realpath(os.path.join(os.path.dirname(__file__), "..", ".."))
BUILD = os.path.join(ROOT, os.environ.get("BUILD", "build"))


class Report:
    """The figures of one bench."""

    def __init__(self, name, json_wanted):
        self.name = name
        self.json_wanted = json_wanted
        self.command = " ".join(["bench/%s/run" % name] + [a for a in sys.argv[1:] if a != "--json"])
        self.figures = []
        self.details = {}

    def add(self, what, value, unit, most=None, least=None):
        """A figure; @most or @least is the target, neither: it is only told."""
        reached = None
        if value is not None and (most is not None or least is not None):
            reached = (most is None or value <= most) and (least is None or value >= least)
        self.figures.append({"what": what, "value": value, "unit": unit, "most": most,
                             "least": least, "reached": reached})

    def end(self):
        if self.json_wanted:
            print(json.dumps({"bench": self.name, "command": self.command,
                              "figures": self.figures, "details": self.details}, indent=1))
        else:
            for line in table(self.figures, self.command):
                print(line)


def number(value, unit):
    if value is None:
        return "not measured"
    if unit == "x":
        return "%.3fx" % value
    if isinstance(value, float):
        return ("%.1f %s" % (value, unit)).rstrip()
    return ("%d %s" % (value, unit)).rstrip()


def table(figures, command):
    for f in figures:
        target = "" if f["most"] is None else "<= " + number(f["most"], f["unit"])
        target = target if f["least"] is None else ">= " + number(f["least"], f["unit"])
        word = {True: "reached", False: "MISSED", None: ""}[f["reached"]]
        yield "%-58s %14s  %-12s %-8s %s" % (f["what"], number(f["value"], f["unit"]), target,
                                            word, command)


def arguments(doc):
    """A parser with --json; its help is the script's own essay."""
    parser = argparse.ArgumentParser(description=doc,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="one JSON object instead of lines")
    return parser


def say(fmt, *args):
    sys.stderr.write((fmt % args if args else fmt) + "\n")
    sys.stderr.flush()


def alone():
    """Run again in a world of its own (tests/lib/alone), which takes everything with it at its end.
    Who is not root, and starts no region, has SIGTERM and SIGINT unwind instead."""
    if os.geteuid() == 0 and "TEST_ALONE" not in os.environ:
        script = os.path.join(ROOT, "tests/lib/alone")
        os.execv(script, [script, sys.executable] + sys.argv)

    def stop(number, frame):
        raise SystemExit("interrupted by signal %d" % number)
    for s in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(s, stop)


def wait_until(what, within_s, condition, every_s=0.1):
    """Poll @condition until it gives something true, and return that."""
    end = time.monotonic() + within_s
    while True:
        got = condition()
        if got:
            return got
        if time.monotonic() > end:
            raise RuntimeError("not within %g s: %s" % (within_s, what))
        time.sleep(every_s)


median = statistics.median
