#!/usr/bin/env python3
"""Takes trailhound's alerts from Kafka into SQLite, each of them once.

An alert reaches the table inbox exactly once, whatever is killed and whenever:
  - aborted transactions are not seen (isolation.level=read_committed);
  - an alert and its id are written in one transaction of SQLite, and only then is the
    position committed to Kafka. Whoever is killed in between gets the alert again, and
    knows its id;
  - whoever evaluates the same events again repeats ids, and nothing happens.

What goes on from here, such as a ticket or a message, is sent by a worker of yours that
reads inbox. It may crash between sending and noting that it has: give the alert's id to
the other side as its idempotency key.

Several processes may share one group and one database file. Needs Python 3.9 and
confluent-kafka. Ends at SIGTERM and SIGINT; at the start with 1 and a line if no broker
answers or the topic is not there. Settings come from the environment:

  ALERTS_BROKERS        127.0.0.1:9092      host:port, comma-separated
  ALERTS_TOPIC          alerts
  ALERTS_GROUP          alert-inbox         the consumer group
  ALERTS_DB             alerts.db           file of the database
  ALERTS_REMEMBER_DAYS  400                 how long an id is known; 0: for ever
  ALERTS_SESSION        45                  seconds after which the partitions of one that was killed go to others
  ALERTS_TLS            false               true: TLS, with the system's authorities
  ALERTS_CA_FILE                            PEM of other authorities; implies TLS
  ALERTS_CERT_FILE, ALERTS_KEY_FILE         PEM of a client certificate; implies TLS
  ALERTS_SASL_MECHANISM                     PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512
  ALERTS_USERNAME, ALERTS_PASSWORD          or ALERTS_PASSWORD_FILE
"""

import json
import os
import signal
import sqlite3
import sys
import time

from confluent_kafka import Consumer, KafkaException

SCHEMA = "trailhound.alert.v1"

TABLES = """
CREATE TABLE IF NOT EXISTS seen (id TEXT PRIMARY KEY, at REAL NOT NULL) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS seen_at ON seen (at);
CREATE TABLE IF NOT EXISTS inbox (
  id TEXT PRIMARY KEY, rule_id TEXT, severity TEXT, title TEXT, event_time TEXT, alert TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS unreadable (
  topic TEXT, partition INTEGER, position INTEGER, why TEXT, value BLOB, PRIMARY KEY (topic, partition, position));
"""


def kafka_settings(env):
    """Returns the consumer's configuration."""
    settings = {
        "bootstrap.servers": env.get("ALERTS_BROKERS", "127.0.0.1:9092"),
        "group.id": env.get("ALERTS_GROUP", "alert-inbox"),
        "isolation.level": "read_committed",
        "enable.auto.commit": False,
        "auto.offset.reset": "earliest",
        "log_level": 0,  # what the client has to say comes as errors, too
        "session.timeout.ms": int(float(env.get("ALERTS_SESSION", "45")) * 1000),
    }
    files = {"ssl.ca.location": "ALERTS_CA_FILE", "ssl.certificate.location": "ALERTS_CERT_FILE", "ssl.key.location": "ALERTS_KEY_FILE"}
    settings.update({key: env[name] for key, name in files.items() if env.get(name)})
    tls = env.get("ALERTS_TLS", "").lower() == "true" or any(env.get(name) for name in files.values())
    mechanism = env.get("ALERTS_SASL_MECHANISM", "")
    if mechanism:
        password = env.get("ALERTS_PASSWORD", "")
        if env.get("ALERTS_PASSWORD_FILE"):
            with open(env["ALERTS_PASSWORD_FILE"], encoding="utf-8") as file:
                password = file.read().rstrip("\r\n")
        settings.update({"sasl.mechanism": mechanism, "sasl.username": env.get("ALERTS_USERNAME", ""), "sasl.password": password})
    settings["security.protocol"] = ("SASL_" if mechanism else "") + ("SSL" if tls else "PLAINTEXT")
    return settings


FIELDS = ("id", "rule_id", "severity", "title", "event_time")


def read_alert(message):
    """Returns the fields of the alert that a record holds. What is none of a known form is a ValueError."""
    headers = dict(message.headers() or [])
    try:
        alert = json.loads(message.value() or b"")
    except RecursionError:
        # The event inside is hostile, and can be nested deeper than this parser goes. It must not hide its alert.
        alert = {name: headers.get(header, b"").decode() for name, header in
                 (("schema", "schema"), ("id", "alert_id"), ("rule_id", "rule_id"), ("severity", "severity"))}
        alert.update(title="an alert whose event is nested too deeply for this reader", event_time="")
    if not isinstance(alert, dict) or alert.get("schema") != SCHEMA or not alert.get("id"):
        raise ValueError(f"not an alert of the form {SCHEMA}")
    for name in FIELDS:
        if not isinstance(alert.get(name), str):
            raise ValueError(f"an alert without {name}")
    return {name: alert[name] for name in FIELDS}


def take(db, messages, now, remember_days):
    """Writes what the messages hold in one transaction, and returns the alerts that are new."""
    new = []
    with db:  # commits, or rolls back on an exception
        db.execute("BEGIN IMMEDIATE")
        for message in messages:
            try:
                alert = read_alert(message)
            except ValueError as why:  # must not stop the alerts behind it
                db.execute(
                    "INSERT OR IGNORE INTO unreadable VALUES (?, ?, ?, ?, ?)",
                    (message.topic(), message.partition(), message.offset(), str(why), message.value()),
                )
                continue
            if db.execute("INSERT OR IGNORE INTO seen VALUES (?, ?)", (alert["id"], now)).rowcount == 0:
                continue
            db.execute("INSERT INTO inbox VALUES (?, ?, ?, ?, ?, ?)", (*alert.values(), message.value().decode()))
            new.append(alert)
        if remember_days > 0:  # an id in the inbox is never forgotten before its alert is taken out
            db.execute(
                "DELETE FROM seen WHERE at < ? AND id NOT IN (SELECT id FROM inbox)", (now - remember_days * 86400,)
            )
    return new


def say(text):
    print(text, file=sys.stderr, flush=True)


REACH_WITHIN = 15  # seconds


def reach(consumer, env, topic):
    """Returns why there is nothing to read, or None: a wrong address or a mistyped topic would be silent for ever."""
    try:
        known = consumer.list_topics(topic, timeout=REACH_WITHIN).topics[topic]
    except KafkaException as why:
        return f"no broker of ALERTS_BROKERS ({env.get('ALERTS_BROKERS', '127.0.0.1:9092')}) answers within {REACH_WITHIN} s: {why.args[0].str()}"
    if known.error is not None:
        return f"ALERTS_TOPIC: topic {topic} cannot be read: {known.error.str()}"
    return None


class Repeats:
    """Lets an error through once, then again after 10 s, 20 s, 40 s and so on while it lasts."""

    def __init__(self):
        self.next, self.pause = {}, {}

    def new(self, text, now):
        if now < self.next.get(text, 0):
            return False
        self.pause[text] = min(2 * self.pause.get(text, 5), 600)
        self.next[text] = now + self.pause[text]
        return True


def main(env, arguments=()):
    if arguments:
        print(__doc__.strip())
        return 0 if set(arguments) <= {"-h", "--help"} else 2
    running = True

    def stop(_signal, _frame):
        nonlocal running
        running = False

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    topic = env.get("ALERTS_TOPIC", "alerts")
    consumer = Consumer(kafka_settings(env))
    why = reach(consumer, env, topic)
    if why:
        say(why)
        consumer.close()
        return 1
    repeats = Repeats()
    db = sqlite3.connect(env.get("ALERTS_DB", "alerts.db"), timeout=30, isolation_level=None)
    db.execute("PRAGMA journal_mode=WAL")
    db.execute("PRAGMA synchronous=FULL")  # committed means on the disk, before Kafka is told
    db.executescript(TABLES)
    remember_days = float(env.get("ALERTS_REMEMBER_DAYS", "400"))
    consumer.subscribe([topic])
    try:
        while running:
            messages = []
            for message in consumer.consume(num_messages=500, timeout=1.0):
                if message.error() is None:
                    messages.append(message)
                elif message.error().fatal():
                    raise KafkaException(message.error())
                elif repeats.new(str(message.error()), time.monotonic()):  # the client tries again by itself
                    say(f"kafka: {message.error()}")
            if not messages:
                continue
            for alert in take(db, messages, time.time(), remember_days):
                print(f"{alert['severity']:8} {alert['event_time']}  {alert['title']}", flush=True)
            try:
                consumer.commit(asynchronous=False)
            except KafkaException as why:  # as when partitions have moved meanwhile: who has them now knows the ids
                say(f"positions are not committed, what was taken comes again: {why}")
    finally:
        consumer.close()
        db.close()
    return 0


if __name__ == "__main__":
    sys.exit(main(os.environ, sys.argv[1:]))
