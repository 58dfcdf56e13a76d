"""Reads the answers to health probes with Python's JSON, and judges them by
the rules of docs/health.md.

A line of standard input is an answer: the status code and the body in base64,
with a space between. For each a line comes back, with tabs between its parts:
`ok`, the status, version and node, and four parts for each check: name, state,
`critical` or `shown`, and its detail (`-` for none). Texts are in base64. An
answer that breaks a rule gives `bad` and the reason.
"""

import base64
import json
import sys
from datetime import datetime, timezone

CHECK_KEYS = {"status", "detail", "critical", "duration", "age"}


class Broken(Exception):
    """An answer that breaks a rule."""


def need(holds, text):
    if not holds:
        raise Broken(text)


def distinct(pairs):
    keys = [key for key, _ in pairs]
    need(len(keys) == len(set(keys)), f"a key comes twice: {keys}")
    return dict(pairs)


def no_number(text):
    raise Broken(f"{text} is not JSON")


def is_time(value):
    return isinstance(value, float) and value >= 0


def check(name, of):
    need(set(of) <= CHECK_KEYS, f"{name}: unknown keys in {of}")
    need(of["status"] in ("healthy", "unhealthy"), f"{name}: status {of['status']}")
    need(of.get("critical", False) is False, f"{name}: critical {of}")
    need(isinstance(of.get("detail", "-"), str), f"{name}: detail {of}")
    need(of.get("detail") != "", f"{name}: an empty detail")
    for key in ("duration", "age"):
        need(key not in of or is_time(of[key]), f"{name}: {key} {of}")


def judge(code, body):
    answer = json.loads(body, object_pairs_hook=distinct, parse_constant=no_number)
    keys = ["status", "version", "uptime", "node", "timestamp", "checks"]
    need(list(answer) == keys, f"keys {list(answer)}")
    need(is_time(answer["uptime"]), f"uptime {answer['uptime']}")
    timestamp = datetime.fromisoformat(answer["timestamp"].replace("Z", "+00:00"))
    age = abs((datetime.now(timezone.utc) - timestamp).total_seconds())
    need(age < 60, f"timestamp {timestamp}")
    checks = answer["checks"]
    for name, of in checks.items():
        check(name, of)
    need(next(iter(checks)) == "beam", f"checks {list(checks)}")
    failed = [of for of in checks.values() if of["status"] == "unhealthy"]
    critical = [of for of in failed if of.get("critical", True)]
    expected = "unhealthy" if critical else "degraded" if failed else "healthy"
    need(answer["status"] == expected, f"status {answer['status']} with {checks}")
    need(code == (503 if critical else 200), f"code {code} with {checks}")
    return answer


def packed(text):
    return base64.b64encode(text.encode()).decode()


def report(line):
    code, body = line.split(" ", 1)
    answer = judge(int(code), base64.b64decode(body).decode("utf-8"))
    parts = ["ok", answer["status"], packed(answer["version"]), packed(answer["node"])]
    for name, of in answer["checks"].items():
        detail = packed(of["detail"]) if "detail" in of else "-"
        critical = "critical" if of.get("critical", True) else "shown"
        parts += [packed(name), of["status"], critical, detail]
    return "\t".join(parts)


def main():
    for line in sys.stdin:
        try:
            print(report(line.rstrip("\n")))
        except (Broken, ValueError, KeyError, TypeError) as error:
            print("bad", packed(repr(error)), sep="\t")


if __name__ == "__main__":
    main()
