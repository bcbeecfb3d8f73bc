#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A handler in Python: a small game that all clients play against one program.

    [service.guess]
    kind    = "handler"
    listen  = ["127.0.0.1:5000"]
    command = ["/usr/bin/python3", "/path/to/handler.py"]
    events  = true

Each client guesses a number from 1 to 100. Who wins is told to everybody.
penstock.toml(5), HANDLER PROTOCOL, describes the lines.
"""

import json
import random
import sys

numbers = {}  # conn -> the number to guess


def say(**reply):
    # flush: without it Python would keep replies until 8 KiB have gathered.
    print(json.dumps(reply), flush=True)


def message(conn, text):
    try:
        guess = int(text)
    except ValueError:
        say(conn=conn, data="a number, please\n")
        return
    number = numbers.setdefault(conn, random.randint(1, 100))
    if guess < number:
        say(conn=conn, data="too small\n")
    elif guess > number:
        say(conn=conn, data="too large\n")
    else:
        say(conn=conn, data="you won\n", close=True)
        say(data="somebody has guessed %d\n" % number)


def main():
    for line in sys.stdin:
        event = json.loads(line)
        if event["event"] == "message":
            message(event["conn"], event.get("data", ""))
        elif event["event"] == "close":
            numbers.pop(event["conn"], None)


if __name__ == "__main__":
    main()
