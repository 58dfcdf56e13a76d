"""What arrives, over every channel: one alert, twenty, resolved, hostile."""

from __future__ import annotations

import json
import re
import time
import urllib.parse
import uuid
from html.parser import HTMLParser
from typing import Any

import pytest
import sigv4
from alerts import HOSTILE, Alert, alert, ended, hostile, twenty
from conftest import Bench
from server import ACCESS_KEY, EXTERNAL_URL, PHONES, SECRET_KEY
from sinks import Mail, Request

# GSM 03.38 without its extension table, as far as it is ASCII.
GSM = re.compile(r"[A-Za-z0-9 !\"#$%&'()*+,./:;<=>?@_-]*")
RUNBOOK = "https://github.com/your-org/erlmcp/blob/main/monitoring/runbooks/ErlmcpErrorRateHigh.md"
DASHBOARD = "http://localhost:3000/d/erlmcp-overview"
SOURCE = "http://localhost:9090/graph?g0.expr=erlmcp%3Aerrors%3Aratio+%3E+0.01&g0.tab=1"


@pytest.fixture
def place() -> str:
    """An environment of its own: what arrives with it belongs to this test."""
    return f"test-{uuid.uuid4().hex[:12]}"


class Page(HTMLParser):
    """The tags, links and text of an HTML mail."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[str] = []
        self.links: dict[str, list[str]] = {}
        self.words: list[str] = []
        self._href: str | None = None
        self.feed(html)
        self.text = " ".join(" ".join(self.words).split())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self._href = dict(attrs).get("href") if tag == "a" else None
        assert not any(name.startswith("on") for name, _ in attrs), attrs

    def handle_data(self, data: str) -> None:
        self.words.append(data)
        if self._href is not None and data.strip():
            self.links.setdefault(data.strip(), []).append(self._href)
            self._href = None


def attachment(request: Request) -> dict[str, Any]:
    body = request.json()
    assert len(body["attachments"]) == 1
    assert len(request.body) < 16_000
    return dict(body["attachments"][0]) | {"channel": body["channel"]}


def send(bench: Bench, alerts: list[Alert], place: str) -> None:
    bench.server.post(alerts)
    bench.http.wait("/slack/", place)


def quiet(bench: Bench) -> None:
    assert bench.server.failures() == []


class TestSlack:
    def test_one(self, bench: Bench, place: str) -> None:
        send(bench, [alert(environment=place)], place)
        [request] = bench.http.matching("/slack/", place)
        body = attachment(request)
        assert request.path == "/slack/platform"
        assert body["channel"] == "#erlmcp-platform"
        assert body["title"] == f"[P1 · firing] ErlmcpErrorRateHigh · {place}"
        assert body["color"] == "#e8710a"
        assert body["title_link"].startswith(EXTERNAL_URL + "/#/alerts?receiver=platform-page")
        lines = body["text"].split("\n")
        assert lines[0] == f"*ErlmcpErrorRateHigh* · erlmcp-1:8080 · {place}"
        assert lines[1] == "Requests to erlmcp fail"
        assert lines[2] == "2.31 % of the requests of the last 5 minutes failed; 1 % is the limit."
        assert re.fullmatch(r"Since \d{4}-\d\d-\d\d \d\d:\d\d UTC", lines[3])
        matchers = (
            '{alertname=~"ErlmcpErrorRateHigh|ErlmcpEscalated",original_alertname=~"|ErlmcpErrorRateHigh",'
            f'cluster="erlmcp",environment="{place}",instance="erlmcp-1:8080",job="erlmcp"}}'
        )
        silence = f"{EXTERNAL_URL}/#/silences/new?filter={urllib.parse.quote(matchers, safe='')}"
        assert lines[4] == (
            f"<{RUNBOOK}|Runbook> · <{DASHBOARD}|Dashboard> · "
            f"<{SOURCE.replace('&', '&amp;')}|Source> · <{silence}|Silence>"
        )
        assert len(lines) == 5
        assert body["fallback"] == f"{body['title']}: Requests to erlmcp fail"
        quiet(bench)

    def test_twenty_are_one_message_of_five_and_a_count(self, bench: Bench, place: str) -> None:
        send(bench, twenty(environment=place), place)
        time.sleep(2.5)
        [request] = bench.http.matching("/slack/", place)
        body = attachment(request)
        assert "[P1 · firing 20]" in body["title"]
        assert body["text"].count("|Runbook>") == 5
        assert body["text"].startswith("Requests to erlmcp fail\n\n*ErlmcpErrorRateHigh* · erlmcp-")
        assert body["text"].count("Requests to erlmcp fail") == 1
        assert "…and 15 more: <" in body["text"]
        assert len(body["text"]) < 6000
        quiet(bench)

    def test_resolved(self, bench: Bench, place: str) -> None:
        fired = twenty(environment=place)
        send(bench, fired, place)
        bench.server.post(ended(fired))
        _, request = bench.http.wait("/slack/", place, 2)
        body = attachment(request)
        assert body["title"] == f"[P1 · resolved] ErlmcpErrorRateHigh · {place}"
        assert body["color"] == "#2e7d32"
        assert body["text"].count("Resolved: *ErlmcpErrorRateHigh*") == 10
        assert body["text"].endswith("…and 10 more resolved")
        quiet(bench)

    def test_some_resolved(self, bench: Bench, place: str) -> None:
        fired = twenty(environment=place)[:3]
        send(bench, fired, place)
        bench.server.post(ended(fired[:1]))
        _, request = bench.http.wait("/slack/", place, 2)
        body = attachment(request)
        assert body["title"].startswith("[P1 · firing 2]")
        assert body["text"].count("|Silence>") == 2
        assert body["text"].count("Resolved: ") == 1

    def test_hostile(self, bench: Bench, place: str) -> None:
        send(bench, [hostile(environment=place)], place)
        [request] = bench.http.matching("/slack/", place)
        body = attachment(request)
        text = body["text"]
        # Every < opens a link that the template made.
        assert re.findall(r"<(?!https?://[^<>|\s]+\|(?:Runbook|Dashboard|Source|Silence)>)", text) == []
        assert "javascript:" not in text and "Runbook" not in text
        assert "&lt;script&gt;alert('x')&lt;/script&gt;" in text
        assert "&lt;!channel&gt;" in text
        assert "🔥🚨 ошибка 障害" in text
        assert "`" not in re.sub(r"<[^>]*>", "", text)
        assert "{{ .ExternalURL }}" in text
        assert "…" in text and len(text) < 3000
        assert "<" not in body["title"] + body["fallback"] + body["footer"]
        quiet(bench)

    def test_a_digest_of_what_is_low(self, bench: Bench, place: str) -> None:
        faults = [alert(f"ErlmcpLow{n}", priority="P3", environment=place) for n in range(4)]
        send(bench, faults, place)
        time.sleep(2.5)
        [request] = bench.http.matching("/slack/", place)
        body = attachment(request)
        assert body["title"] == f"[P3 · firing 4] 4 alerts · {place}"
        for n in range(4):
            assert f"*ErlmcpLow{n}*" in body["text"]
            assert f"/runbooks/ErlmcpLow{n}.md|Runbook>" in body["text"]

    def test_without_labels_and_annotations(self, bench: Bench, place: str) -> None:
        bench.server.post([{"labels": {"alertname": "Bare", "environment": place}}])
        [request] = bench.http.wait("/slack/", place)
        body = attachment(request)
        assert request.path == "/slack/monitoring"
        assert body["title"] == f"[no priority · firing] Bare · {place}"
        assert re.fullmatch(
            rf"\*Bare\* · {place}\nSince [^\n]* UTC\n<{re.escape(EXTERNAL_URL)}[^|]*\|Silence>", body["text"]
        )
        quiet(bench)


class TestPagerDuty:
    def event(self, request: Request) -> dict[str, Any]:
        event = request.json()
        assert request.path == "/pagerduty/v2/enqueue"
        assert len(request.body) < 100_000
        assert set(event["payload"]) >= {"summary", "source", "severity"}
        assert len(event["payload"]["summary"]) <= 1024
        for key in ("firing", "resolved"):
            assert isinstance(event["payload"]["custom_details"][key], str)
        return dict(event)

    def test_one(self, bench: Bench, place: str) -> None:
        send(bench, [alert(environment=place)], place)
        [request] = bench.http.wait("/pagerduty/", place)
        event = self.event(request)
        assert event["routing_key"] == f"{'platform':x<32}"
        assert event["event_action"] == "trigger"
        payload = event["payload"]
        assert payload["summary"] == (
            f"[P1] ErlmcpErrorRateHigh: Requests to erlmcp fail · erlmcp-1:8080 · {place}"
        )
        assert payload["source"] == "erlmcp-1:8080"
        assert payload["severity"] == "error"
        assert payload["class"] == "ErlmcpErrorRateHigh"
        assert payload["component"] == "erlmcp"
        assert payload["group"] == place
        firing = payload["custom_details"]["firing"]
        for text in ("2.31 % of the requests", "Since 20", RUNBOOK, DASHBOARD, SOURCE, "/#/silences/new?filter="):
            assert text in firing, text
        assert payload["custom_details"]["resolved"].strip() == "* none"
        assert [link["text"] for link in event["links"]] == ["Runbook", "Dashboard", "Silence"]
        assert event["links"][0]["href"] == RUNBOOK
        assert event["links"][2]["href"].startswith(f"{EXTERNAL_URL}/#/silences/new?filter=%7Balertname")
        quiet(bench)

    def test_twenty_are_one_incident_that_ends(self, bench: Bench, place: str) -> None:
        fired = twenty(environment=place, priority="P0")
        send(bench, fired[:12], place)
        bench.http.wait("/pagerduty/", place)
        bench.server.post(fired[12:])
        bench.http.wait("/pagerduty/", place, 2)
        bench.server.post(ended(fired))
        events = [self.event(r) for r in bench.http.wait("/pagerduty/", place, 3)]
        assert [e["event_action"] for e in events] == ["trigger", "trigger", "resolve"]
        assert len({e["dedup_key"] for e in events}) == 1
        assert events[0]["payload"]["severity"] == "critical"
        assert events[1]["payload"]["summary"].endswith("· 20 firing")
        assert str(events[1]["payload"]["custom_details"]["num_firing"]) == "20"
        assert events[1]["payload"]["custom_details"]["firing"].count("\n* ErlmcpErrorRateHigh") == 19
        assert events[2]["payload"]["custom_details"]["firing"].strip() == "* none"
        quiet(bench)

    def test_a_second_fault_is_a_second_incident(self, bench: Bench, place: str) -> None:
        faults = [alert("ErlmcpOne", environment=place), alert("ErlmcpTwo", environment=place)]
        send(bench, faults, place)
        events = [self.event(r) for r in bench.http.wait("/pagerduty/", place, 2)]
        assert len({e["dedup_key"] for e in events}) == 2

    def test_hostile(self, bench: Bench, place: str) -> None:
        send(bench, [hostile(environment=place)], place)
        [request] = bench.http.wait("/pagerduty/", place)
        event = self.event(request)
        firing = event["payload"]["custom_details"]["firing"]
        # Not executed a second time, and not taken for YAML.
        assert '{{ .ExternalURL }} {a: "{{ .Receiver }}"}' in firing
        assert HOSTILE["script"] in firing
        assert "\n" not in event["payload"]["summary"]
        assert [link["text"] for link in event["links"]] == ["Dashboard", "Silence"]
        assert len(firing) < 4000
        quiet(bench)


class TestEmail:
    def mail(self, bench: Bench, place: str, count: int = 1) -> Mail:
        mail = bench.smtp.wait(place, count)[count - 1]
        assert mail.tls and mail.login == "alerts@example.com"
        assert mail.sender == "alerts@example.com"
        return mail

    def test_one(self, bench: Bench, place: str) -> None:
        bench.server.post([alert(environment=place)])
        mail = self.mail(bench, place)
        assert mail.recipients == ["platform-oncall@example.com"]
        assert mail.subject == f"[P1 · firing] ErlmcpErrorRateHigh · {place}: Requests to erlmcp fail"
        page = Page(mail.part("html"))
        for text in (
            f"P1 · 1 firing · {place}",
            "ErlmcpErrorRateHigh",
            "Requests to erlmcp fail",
            "2.31 % of the requests",
            "erlmcp-1:8080",
            "Since 20",
        ):
            assert text in page.text, text
        assert page.links["Runbook"] == [RUNBOOK]
        assert page.links["Dashboard"] == [DASHBOARD]
        assert page.links["Source"] == [SOURCE]
        [silence] = page.links["Silence"]
        assert silence.startswith(f"{EXTERNAL_URL}/#/silences/new?filter=%7balertname%3d~%22ErlmcpErrorRateHigh%7cErlmcpEscalated%22%2c")
        text = mail.part("plain")
        for word in ("2.31 % of the requests", RUNBOOK, DASHBOARD, SOURCE, f"{EXTERNAL_URL}/#/silences/new?filter="):
            assert word in text, word
        quiet(bench)

    def test_more_than_twenty(self, bench: Bench, place: str) -> None:
        fired = twenty(environment=place) + [alert(environment=place, instance=f"more-{n}") for n in range(3)]
        bench.server.post(fired)
        mail = self.mail(bench, place)
        page = Page(mail.part("html"))
        assert "23 firing" in page.text and "and 3 more" in page.text
        assert len(page.links["Silence"]) == 20
        assert mail.part("plain").count("\nSince ") == 20
        assert "and 3 more" in mail.part("plain")
        bench.server.post(ended(fired))
        mail = self.mail(bench, place, 2)
        assert mail.subject.startswith("[P1 · resolved]")
        page = Page(mail.part("html"))
        assert "23 resolved" in page.text and "and 3 more" in page.text
        assert mail.part("plain").count("\nResolved: ") == 20
        quiet(bench)

    def test_hostile(self, bench: Bench, place: str) -> None:
        bench.server.post([hostile(environment=place)])
        mail = self.mail(bench, place)
        html = mail.part("html")
        page = Page(html)
        assert set(page.tags) <= {"html", "head", "meta", "title", "body", "div", "a", "br", "span"}
        assert HOSTILE["script"] in page.text
        assert "Runbook" not in page.links and "Dashboard" in page.links
        assert all(re.match(r"https?://", h) for links in page.links.values() for h in links)
        assert len(html) < 12_000
        assert "\n" not in mail.subject and "🔥🚨" in mail.subject
        assert "forged" not in str(mail.message["Subject"])
        quiet(bench)


class TestSms:
    def message(self, request: Request) -> str:
        sigv4.verify(request, ACCESS_KEY, SECRET_KEY, "us-east-1", "sns")
        form = request.form()
        assert form["Action"] == "Publish"
        assert "TopicArn" not in form and "Subject" not in form
        assert form["MessageAttributes.entry.1.Name"] == "AWS.SNS.SMS.SMSType"
        assert form["MessageAttributes.entry.1.Value.StringValue"] == "Transactional"
        assert GSM.fullmatch(form["Message"]), form["Message"]
        assert len(form["Message"]) <= 160, len(form["Message"])
        return form["Message"]

    @pytest.mark.parametrize("team", sorted(PHONES))
    def test_one(self, bench: Bench, place: str, team: str) -> None:
        bench.server.post([alert(environment=place, priority="P0", team=team)])
        [request] = bench.http.wait("/sns", place[:12])
        message = self.message(request)
        assert request.form()["PhoneNumber"] == PHONES[team]
        assert re.fullmatch(
            rf"P0 ErlmcpErrorRateHigh {place[:12]} erlmcp-1:8080 since \d\d:\d\d UTC: "
            r"2\.31 % of the requests of the last 5 minutes failed; 1 % is the limit\.",
            message,
        ), message
        quiet(bench)

    def test_twenty_and_resolved(self, bench: Bench, place: str) -> None:
        fired = twenty(environment=place, priority="P0")
        bench.server.post(fired)
        [request] = bench.http.wait("/sns", place[:12])
        assert re.fullmatch(
            rf"P0 ErlmcpErrorRateHigh x20 {place[:12]} since \d\d:\d\d UTC: Requests to erlmcp fail",
            self.message(request),
        )
        bench.server.post(ended(fired))
        _, request = bench.http.wait("/sns", place[:12], 2)
        assert self.message(request).startswith("RESOLVED P0 ErlmcpErrorRateHigh")

    def test_escalated(self, bench: Bench, place: str) -> None:
        bench.server.post(
            [
                alert("ErlmcpEscalated", environment=place, priority="P1", escalated="true", escalated_from="P2",
                      original_alertname="ErlmcpQueueDeep")
            ]
        )  # fmt: skip
        [request] = bench.http.wait("/sns", place[:12])
        assert self.message(request).startswith(f"P1 escalated ErlmcpQueueDeep {place[:12]}")
        [slack] = bench.http.wait("/slack/", place)
        assert attachment(slack)["title"] == f"[P1 escalated from P2 · firing] ErlmcpQueueDeep · {place}"

    def test_a_p0_that_pages_again(self, bench: Bench, place: str) -> None:
        bench.server.post(
            [
                alert("ErlmcpEscalated", environment=place, priority="P0", escalated="true", escalated_from="P0",
                      original_alertname="ErlmcpServiceDown", instance=None)
            ]
        )  # fmt: skip
        [request] = bench.http.wait("/sns", place[:12])
        assert self.message(request).startswith(f"P0 again ErlmcpServiceDown {place[:12]} since")
        [slack] = bench.http.wait("/slack/", place)
        assert attachment(slack)["title"] == f"[P0 again · firing] ErlmcpServiceDown · {place}"
        assert bench.smtp.wait(place)[0].subject.startswith("[P0 again · firing] ErlmcpServiceDown")

    def test_hostile(self, bench: Bench, place: str) -> None:
        bench.server.post([hostile(environment=place, priority="P0")])
        [request] = bench.http.wait("/sns", place[:12])
        assert self.message(request).endswith("...")
        quiet(bench)


CHANNELS = {
    # priority, escalated: the channels beside Slack and e-mail
    ("P0", False): {"pagerduty", "sns"},
    ("P0", True): {"pagerduty", "sns"},
    ("P1", False): {"pagerduty"},
    ("P1", True): {"pagerduty", "sns"},
    ("P2", False): set(),
    ("P2", True): {"pagerduty", "sns"},
    ("P3", False): set(),
}


def test_channels_by_priority_team_and_escalation(bench: Bench) -> None:
    """Every priority of every team arrives where it should, and nowhere else."""
    cases = {}
    for (priority, escalated), channels in CHANNELS.items():
        for team in PHONES:
            place = f"t{uuid.uuid4().hex[:11]}"
            extra = {"escalated": "true"} if escalated else {}
            cases[place] = (team, channels)
            bench.server.post([alert(environment=place, priority=priority, team=team, **extra)])
    for place, (team, _) in cases.items():
        bench.http.wait("/slack/", place)
        bench.smtp.wait(place)
    time.sleep(1)
    for place, (team, channels) in cases.items():
        [slack] = bench.http.matching("/slack/", place)
        assert slack.path == f"/slack/{team}"
        [mail] = bench.smtp.wait(place)
        assert mail.recipients == [f"{team}-oncall@example.com"]
        pages = bench.http.matching("/pagerduty/", place)
        messages = bench.http.matching("/sns", place)
        assert {"pagerduty"} & channels == ({"pagerduty"} if pages else set()), place
        assert {"sns"} & channels == ({"sns"} if messages else set()), place
        assert [p.json()["routing_key"] for p in pages] == [f"{team:x<32}"] * len(pages)
        assert [m.form()["PhoneNumber"] for m in messages] == [PHONES[team]] * len(messages)


def test_the_switch_hears_the_watchdog_again_and_again(bench: Bench, place: str) -> None:
    bench.server.post([alert("ErlmcpWatchdog", environment=place, priority="P3", team="monitoring")])
    [request] = bench.http.wait("/webhook/dead-mans-switch", place)
    body = request.json()
    assert body["status"] == "firing"
    assert [a["labels"]["alertname"] for a in body["alerts"]] == ["ErlmcpWatchdog"]
    time.sleep(1)
    assert bench.http.matching("/slack/", place) == []
    json.dumps(body)
