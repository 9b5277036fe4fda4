#!/usr/bin/env python3
"""How many learners fit on what: the arithmetic of docs/scale.md, from the inputs below.

    scripts/capacity.py                             prints the tables
    scripts/capacity.py --set event_cpu_us=30       the same with another figure, as often as you like
    scripts/capacity.py --learners 50000 --learners 250000
    scripts/capacity.py --write docs/scale.md       puts the tables, with the inputs below, into the document
    scripts/capacity.py --check docs/scale.md       exit code 1 when the document has others
"""

import argparse
import sys
from pathlib import Path

MEASURED = "measured"
SET = "a setting"
SCHEDULE = "the schedule of the packs"
ASSUMED = "**assumed**"

# name: (value, unit, what it is, where it comes from)
INPUTS = {
    "event_cpu_us": (53.5, "µs", "processor time of a gateway for an event", f"{MEASURED}: docs/performance.md, 10,000 events/s"),
    "close_cpu_ms": (19, "ms", "processor time of a gateway for closing a session", f"{MEASURED}: docs/performance.md"),
    "node_bytes": (131.5e6, "B", "memory of a node without sessions, models included", f"{MEASURED}: docs/performance.md"),
    "session_bytes": (18.5e3, "B", "memory of a node for a session", f"{MEASURED}: docs/performance.md"),
    "photo_cpu_ms": (2000 / 70, "ms", "processor time of a face check: two cores do 70 a second", f"{MEASURED}: README.md"),
    "row_bytes": (150.6, "B", "a live row of the journal with keys and headers", f"{MEASURED}: docs/performance.md, SQLite"),
    "sealed_bytes": (15.4, "B", "an event in a sealed log", f"{MEASURED}: docs/performance.md"),
    "events_hour": (900, "1/h", "events of a learner: a heartbeat every 5 s, and the rest", f"{MEASURED}: docs/performance.md"),
    "sessions_hour": (1.5, "1/h", "sessions of a learner: lessons of a class hour, 40 minutes", SCHEDULE),
    "captures_hour": (9, "1/h", "photos of a learner: one every 4 to 12 minutes, and one at each start", SCHEDULE),
    "node_connections": (20_000, "", "connections that a node takes", f"{SET}: limits.connections_limit"),
    "node_pool": (24, "", "connections of a node to PostgreSQL", f"{SET}: database.connections_limit"),
    "busy_hours": (8, "h", "full hours a day: what a day has, as if all of it were its peak", ASSUMED),
    "busy_days": (300, "", "such days a year", ASSUMED),
    "fill": (0.6, "", "how full anything is planned to be, so that one of three may die", ASSUMED),
    "photo_bytes": (40e3, "B", "a photo as a page sends it (those of the tests have 17 kB, the limit is 512 KiB)", ASSUMED),
    "redis_call_us": (33.5, "µs", "processor time of Redis, which has one thread, for a report of what was played", f"{MEASURED}: docs/performance.md, 64 under way"),
    "redis_session_us": (19.2, "µs", "the same for claiming a session and giving it up", f"{MEASURED}: docs/performance.md, 64 under way"),
    "redis_renewal_us": (62, "µs", "the same for renewing the lease of one of a thousand nodes, every 2 s", f"{MEASURED}: docs/performance.md"),
    "redis_calls_event": (0.2, "", "of which an event makes so many, to tell who plays where: one every 30 s of play, and one whenever it begins or stops (30 times an hour **assumed**)", "src/actor/playing.rs"),
    "journal_rows_s": (60_000, "1/s", "rows that a PostgreSQL primary appends in batches, and deletes again when logs are sealed", ASSUMED),
    "wal_bytes_row": (450, "B", "write-ahead log for a row, from its insert to its delete", ASSUMED),
    "record_transactions_s": (2_000, "1/s", "transactions that open or close a session on a PostgreSQL primary", ASSUMED),
    "postgres_connections": (500, "", "connections that a PostgreSQL primary takes without a pooler", ASSUMED),
    "proxy_connections": (200_000, "", "learners that an HAProxy holds in TLS: 40 kB each, 8 GB", ASSUMED),
    "store_puts_s": (5_000, "1/s", "photos that a store of several machines takes", ASSUMED),
    "partition_rows": (100e6, "", "rows beyond which a table is better divided", ASSUMED),
}
LEARNERS = [10_000, 100_000, 1_000_000, 10_000_000]
BEGIN, END = "<!-- capacity.py: begin -->", "<!-- capacity.py: end -->"


class Figures:
    """What one learner costs, and what follows for many. A learner is one who is learning at this moment."""

    def __init__(self, values):
        self.__dict__.update(values)
        self.events_s = self.events_hour / 3600
        self.captures_s = self.captures_hour / 3600
        self.sessions_s = self.sessions_hour / 3600
        self.cpu_s = self.events_s * self.event_cpu_us / 1e6 + self.sessions_s * self.close_cpu_ms / 1e3
        # What Redis does for a learner each second; leases go by nodes.
        self.redis_s = (self.events_s * self.redis_calls_event * self.redis_call_us + self.sessions_s * self.redis_session_us) / 1e6
        self.by_core = self.fill / self.cpu_s
        self.by_node = self.fill * self.node_connections
        self.by_vision_core = self.fill / (self.captures_s * self.photo_cpu_ms / 1e3)
        # Of a session half is there on average; what is sealed is gone from the live rows.
        self.live_rows = self.events_hour / self.sessions_hour / 2

    def limits(self):
        """Learners that one of each takes, and what there is more of then; the first to be full comes first."""
        shared = [
            (self.fill / self.redis_s, "Redis primary: its one thread",
             "Redis Cluster: the keys are laid out for it, and presence goes by learner, so the primaries share it evenly"),
            (self.fill * self.journal_rows_s / self.events_s, "PostgreSQL primary: rows of the journal",
             "a database of its own for the journal; then several, by session. **Not built**: one URL is one database"),
            (self.proxy_connections * self.fill, "HAProxy: connections in TLS",
             "several HAProxys behind one name, or TLS on the nodes behind a load balancer of layer 4"),
            (self.fill * self.postgres_connections / self.node_pool * self.by_node, "PostgreSQL primary: connections",
             "smaller pools (`database.connections_limit`), or a pooler for the records"),
            (self.fill * self.record_transactions_s / (2 * self.sessions_s), "PostgreSQL primary: opening and closing",
             "one installation a region, as the registries are kept anyway; Redis may be shared for presence"),
            (self.fill * self.store_puts_s / self.captures_s, "store of photos: puts",
             "more machines of the store: names are spread over 4,096 beginnings"),
        ]
        own = [
            (self.by_node, "gateway node: connections", "one more node: nodes share nothing"),
            (self.by_core, "gateway node: one core", "another core, or one more node"),
            (self.by_vision_core, "vision node: one core", "one more: they share nothing but the queue"),
        ]
        return sorted(own), sorted(shared)

    def needs(self, learners):
        nodes = ceil(learners / self.by_node)
        return {
            "events a second": number(learners * self.events_s),
            "gateway nodes": max(nodes, 3),
            "cores for them": max(ceil(learners / self.by_core), 3),
            "memory of each": size(self.node_bytes + self.session_bytes * min(self.node_connections, learners / max(nodes, 3))),
            "face checks a second": number(learners * self.captures_s),
            "vision cores": max(ceil(learners / self.by_vision_core), 2),
            "Redis calls a second": number(learners * self.events_s * self.redis_calls_event),
            "Redis primaries": ceil(learners * self.redis_s / self.fill),
            "journal rows a second": number(learners * self.events_s),
            "write-ahead log a second": size(learners * self.events_s * self.wal_bytes_row),
            "PostgreSQL primaries for it": ceil(learners * self.events_s / (self.journal_rows_s * self.fill)),
            "connections to PostgreSQL": max(nodes, 3) * self.node_pool,
            "lease renewals a second": number(max(nodes, 3) / 2),
            "for them, of one core of Redis": f"{max(nodes, 3) / 2 * self.redis_renewal_us / 1e4:.2g} %",
            "photos to the store a second": size(learners * self.captures_s * self.photo_bytes),
        }

    def day(self, learners):
        hours = learners * self.busy_hours
        return {
            "sessions (rows of session, verdict, segment, outbox)": number(hours * self.sessions_hour),
            "journal: rows written and deleted": number(hours * self.events_hour),
            "journal: live at a time": size(learners * self.live_rows * self.row_bytes),
            "sealed logs": size(hours * self.events_hour * self.sealed_bytes),
            "photos": number(hours * self.captures_hour),
            "photos, bytes": size(hours * self.captures_hour * self.photo_bytes),
            "a year: sealed logs": size(hours * self.events_hour * self.sealed_bytes * self.busy_days),
            "a year: photos, if all are kept": size(hours * self.captures_hour * self.photo_bytes * self.busy_days),
        }

    def full_after(self, learners):
        hours = learners * self.busy_hours
        days = {"photo": hours * self.captures_hour, "session, verdict, segment, outbox": hours * self.sessions_hour}
        return {table: f"{number(self.partition_rows / rows)} days" for table, rows in days.items()}


def ceil(value):
    return -int(-value // 1)


def number(value):
    if value >= 100:
        digits = len(str(int(value)))
        value = round(value, -(digits - 3))
        return f"{value:,.0f}"
    return f"{value:.2g}" if value < 10 else f"{value:.0f}"


def size(value):
    for unit in ("B", "kB", "MB", "GB", "TB", "PB"):
        if value < 1000:
            break
        value /= 1000
    return f"{value:.3g} {unit}"


def table(head, rows, right=True):
    yield "| " + " | ".join(head) + " |"
    yield "| --- |" + (" ---: |" if right else " --- |") * (len(head) - 1)
    for row in rows:
        yield "| " + " | ".join(f"{cell:,}" if isinstance(cell, int) else cell for cell in row) + " |"
    yield ""


def by_learners(title, rows_of, learners):
    columns = [rows_of(count) for count in learners]
    rows = [[name, *(column[name] for column in columns)] for name in columns[0]]
    return table([title, *(f"{count:,}" for count in learners)], rows)


def document(values, learners):
    figures = Figures(values)
    own, shared = figures.limits()
    yield "### Inputs\n"
    rows = [(f"`{name}`", f"{values[name]:,.4g}" if values[name] < 1e4 else f"{values[name]:,.0f}", unit, what, source)
            for name, (_, unit, what, source) in INPUTS.items()]
    yield from table(["input", "value", "unit", "what", "from"], rows, right=False)
    yield "### What one of each takes\n"
    yield from table(["of what there may be any number", "learners", "then"], [(name, number(n), then) for n, name, then in own], right=False)
    yield from table(["of what all share, the first to be full first", "learners", "then"], [(name, number(n), then) for n, name, then in shared], right=False)
    yield "### What so many learners need\n"
    yield from by_learners("learners at a time", figures.needs, learners)
    yield "### What a day leaves behind\n"
    yield from by_learners("learners at the peak", figures.day, learners)
    yield f"### When a table has {number(values['partition_rows'])} rows\n"
    yield from by_learners("learners at the peak", figures.full_after, learners)


def changed(settings):
    values = {name: value for name, (value, *_) in INPUTS.items()}
    for setting in settings:
        name, _, value = setting.partition("=")
        if name not in values:
            sys.exit(f"there is no input {name}; there are: {', '.join(values)}")
        try:
            values[name] = float(value)
        except ValueError:
            sys.exit(f"{setting}: {value!r} is no number")
        if values[name] <= 0:
            sys.exit(f"{setting}: must be more than 0")
    return values


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--set", action="append", default=[], metavar="INPUT=VALUE")
    parser.add_argument("--learners", action="append", type=int, metavar="COUNT")
    parser.add_argument("--write", type=Path, metavar="FILE")
    parser.add_argument("--check", type=Path, metavar="FILE")
    arguments = parser.parse_args()
    text = "\n".join(document(changed(arguments.set), arguments.learners or LEARNERS)).rstrip()
    file = arguments.write or arguments.check
    if file is None:
        print(text)
        return 0
    before = file.read_text()
    head, begin, rest = before.partition(BEGIN)
    _, end, tail = rest.partition(END)
    if not begin or not end:
        sys.exit(f"{file}: has no {BEGIN} and {END}")
    after = f"{head}{BEGIN}\n\n{text}\n\n{END}{tail}"
    if arguments.write:
        file.write_text(after)
    elif before != after:
        print(f"{file} is stale: scripts/capacity.py --write {file}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
