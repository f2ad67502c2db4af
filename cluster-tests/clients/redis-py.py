"""redis-py with its default handshake, in the version that the search path names (5 or 8).

Owns: what game servers do with it, on three connections to three nodes.
Invariant: only default options; what the client sends unasked is part of the test.
"""

import faulthandler
import os
import time

import redis

faulthandler.dump_traceback_later(60, exit=True)
NAME = f"redis-py-{redis.__version__}"
NODES = os.environ.get("QUORATE_TEST_RESP", "127.0.0.1:6379").split(",")


def connect(n, **options):
    host, port = NODES[n % len(NODES)].split(":")
    return redis.Redis(host=host, port=int(port), **options)


def key(word):
    return f"{NAME}:{word}"


def until(check):
    while not check():
        time.sleep(0.01)


def raw(word):
    return key(word).encode()


def main():
    a, b, c = connect(0), connect(1, client_name="tester"), connect(2, db=0)

    # Strings and counters.
    a.delete(*map(key, ["s", "n", "h", "set", "l", "lock", "f"]))
    assert a.ping() is True
    assert b.client_getname() in ("tester", b"tester")
    assert a.set(key("s"), "value") is True
    assert b.get(key("s")) == b"value"
    assert b.get(key("none")) is None
    assert a.set(key("s"), "other", nx=True) is None
    assert a.mset({key("m1"): 1, key("m2"): 2}) is True
    assert c.mget(key("m1"), key("none"), key("m2")) == [b"1", None, b"2"]
    assert sorted(client.incr(key("n")) for client in (a, b, c)) == [1, 2, 3]
    assert a.incrbyfloat(key("f"), 0.1) == 0.1
    assert b.incrbyfloat(key("f"), 0.2) == 0.3

    # Hashes and sets.
    assert a.hset(key("h"), mapping={"f": 1, "g": 2}) == 2
    assert b.hgetall(key("h")) == {b"f": b"1", b"g": b"2"}
    assert c.hincrby(key("h"), "f", 4) == 5
    assert a.hmget(key("h"), "f", "none") == [b"5", None]
    assert dict(c.hscan_iter(key("h"))) == {b"f": b"5", b"g": b"2"}
    assert b.hdel(key("h"), "f", "g") == 2
    assert a.sadd(key("set"), "x", "y", "z") == 3
    assert set(b.smembers(key("set"))) == {b"x", b"y", b"z"}
    assert c.sismember(key("set"), "x") == 1
    assert c.srem(key("set"), "x") == 1

    # Lists and waiting pops.
    assert a.rpush(key("l"), 1, 2, 3) == 3
    assert b.lrange(key("l"), 0, -1) == [b"1", b"2", b"3"]
    assert tuple(c.blpop(key("l"), 1)) == (raw("l"), b"1")
    assert c.blpop(key("nothing"), 0.05) is None
    assert a.lmove(key("l"), key("l2"), "LEFT", "RIGHT") == b"2"
    a.delete(key("l2"))

    # Expiry.
    assert a.set(key("lock"), "me", px=300, nx=True) is True
    until(lambda: b.exists(key("lock")) == 0)
    assert a.setex(key("ttl"), 100, "v") is True
    assert b.ttl(key("ttl")) > 90

    # Transactions.
    pipe = a.pipeline()
    assert pipe.set(key("t"), 1).incr(key("t")).get(key("t")).execute() == [True, 2, b"2"]
    with b.pipeline() as pipe:
        pipe.watch(key("t"))
        c.set(key("t"), "changed")
        pipe.multi()
        pipe.set(key("t"), "mine")
        try:
            pipe.execute()
            raise AssertionError("the watched key had changed")
        except redis.WatchError:
            pass

    # Pipelines and iteration.
    pipe = a.pipeline(transaction=False)
    for i in range(500):
        pipe.set(key(f"p{i}"), i)
    assert all(pipe.execute())
    found = set(b.scan_iter(match=key("p*"), count=50))
    assert len(found) == 500
    c.delete(*found)

    # Messages.
    sub = connect(1).pubsub(ignore_subscribe_messages=False)
    sub.subscribe(key("ch1"), key("ch2"))
    confirmed = [sub.get_message(timeout=10) for _ in range(2)]
    assert [m["data"] for m in confirmed] == [1, 2], confirmed
    assert a.publish(key("ch1"), "hello") == 1
    sub.psubscribe(key("ch*"))
    messages = [sub.get_message(timeout=10) for _ in range(2)]
    assert [m["type"] for m in messages] == ["message", "psubscribe"], messages
    assert c.publish(key("ch2"), "again") == 2
    messages = [sub.get_message(timeout=10) for _ in range(2)]
    assert [(m["type"], m["data"]) for m in messages] == [("message", b"again"), ("pmessage", b"again")]
    assert [tuple(pair) for pair in a.pubsub_numsub(key("ch1"))] == [(raw("ch1"), 1)]
    assert sorted(c.pubsub_channels(key("*"))) == [raw("ch1"), raw("ch2")]
    sub.ping("alive")
    assert sub.get_message(timeout=10)["type"] == "pong"
    sub.ssubscribe(key("shard"))
    assert sub.get_message(timeout=10)["type"] == "ssubscribe"
    assert a.spublish(key("shard"), "s") == 1
    assert sub.get_message(timeout=10)["data"] == b"s"
    sub.unsubscribe()
    left = [sub.get_message(timeout=10) for _ in range(2)]
    assert [m["type"] for m in left] == ["unsubscribe"] * 2, left
    sub.close()
    for client in (a, b, c):
        client.close()


main()
