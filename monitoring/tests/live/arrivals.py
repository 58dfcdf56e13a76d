"""What arrived at the sinks, read as a person would: priority, state, name, channel."""

import re
from collections.abc import Iterable
from dataclasses import dataclass

from programs import TooLate, wait_for
from scene import Watch
from sinks import Mail, Request

CHANNELS = ("Slack", "PagerDuty", "SMS", "e-mail")
# [P1 escalated from P2 · firing 2] ErlmcpInstanceDown · production
TITLE = re.compile(r"\[(?P<priority>[^·]+) · (?P<state>firing|resolved)[^\]]*\] (?P<name>\w+)")
# [P1 escalated from P2] ErlmcpInstanceDown: summary · instance · production
SUMMARY = re.compile(r"\[(?P<priority>[^\]]+)\] (?P<name>\w+)")
# RESOLVED P1 escalated ErlmcpInstanceDown production instance since 12:00 UTC: text
SMS = re.compile(r"(?P<resolved>RESOLVED )?(?P<priority>P\d(?: again| escalated)?) (?P<name>\w+)")


@dataclass(frozen=True)
class Arrival:
    """One notification: `P1 escalated firing ErlmcpInstanceDown` by SMS, at a time of time.monotonic()."""

    channel: str
    what: str
    at: float
    # Slack's channel, PagerDuty's key, the phone number or the address.
    to: str


def _read(found: re.Match[str] | None, state: str | None = None) -> str | None:
    """As `P1 escalated firing NAME`; None for what is about several alerts."""
    if not found:
        return None
    priority = found["priority"].split(" from ")[0].strip()
    return f"{priority} {state or found['state']} {found['name']}"


def _of_request(request: Request) -> Arrival | None:
    kind = request.path.split("/")[1]
    if kind == "slack":
        body = request.json()
        channel, to, what = "Slack", body["channel"], _read(TITLE.match(body["attachments"][0]["title"]))
    elif kind == "pagerduty":
        event = request.json()
        state = {"trigger": "firing", "resolve": "resolved"}[event["event_action"]]
        channel, to, what = "PagerDuty", event["routing_key"], _read(SUMMARY.match(event["payload"]["summary"]), state)
    elif kind == "sns":
        form = request.form()
        found = SMS.match(form["Message"])
        state = "resolved" if found and found["resolved"] else "firing"
        channel, to, what = "SMS", form["PhoneNumber"], _read(found, state)
    else:
        return None
    return Arrival(channel, what, request.at, to) if what else None


def _of_mail(mail: Mail) -> Arrival | None:
    what = _read(TITLE.match(mail.subject))
    return Arrival("e-mail", what, mail.at, mail.recipients[0]) if what else None


def arrivals(watch: Watch) -> list[Arrival]:
    """All so far, in their order."""
    read = [_of_request(request) for request in watch.http.matching("/", "")]
    read += [_of_mail(mail) for mail in list(watch.smtp.mails)]
    return sorted((arrival for arrival in read if arrival), key=lambda arrival: arrival.at)


def first(watch: Watch, what: str, since: float) -> dict[str, Arrival]:
    """By channel, the first of this kind after a time."""
    found: dict[str, Arrival] = {}
    for arrival in arrivals(watch):
        if arrival.what == what and arrival.at >= since:
            found.setdefault(arrival.channel, arrival)
    return found


def seen(watch: Watch, since: float) -> str:
    """What there was instead: every arrival, and what Alertmanager has now."""
    lines = [f"  {one.at - since:+7.1f} s  {one.channel:9} {one.what}" for one in arrivals(watch)]
    for alert in watch.alertmanager.alerts():
        labels, status = alert["labels"], alert["status"]
        lines.append(f"  {status['state']} by {status['inhibitedBy']}, silenced by {status['silencedBy']}: {labels}")
    return "\n".join([f"{watch.name}, from {since:.1f} on:", *lines])


def wait(watch: Watch, what: str, channels: Iterable[str], since: float, seconds: float) -> dict[str, Arrival]:
    """Until each of these channels has it."""
    wanted = set(channels)

    def there() -> dict[str, Arrival] | None:
        found = first(watch, what, since)
        return found if wanted <= set(found) else None

    try:
        return wait_for(f"{what} at {', '.join(sorted(wanted))} ({watch.name})", there, seconds)
    except TooLate as late:
        raise TooLate(f"{late}\n{seen(watch, since)}") from late


def told(watch: Watch, title: str, found: dict[str, Arrival], since: float) -> None:
    """A line of the report: seconds from `since` to each channel."""
    times = ", ".join(f"{channel} {found[channel].at - since:.1f} s" for channel in CHANNELS if channel in found)
    pace = f"{watch.pace:g} times as fast" if watch.pace else "times as shipped"
    print(f"  {title} ({pace}): {times}", flush=True)
