"""`shadowproxy explain`: what would become of a request."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from shadowproxy.cli.main import main
from shadowproxy.config import to_plain
from tests.dataplane.room import MIRRORED, Room

if TYPE_CHECKING:
    from pathlib import Path

CONFIG = """
listen:
  - {name: front, address: "127.0.0.1:8080"}
  - {name: back, address: "127.0.0.1:8081", trusted_proxies: [10.0.0.0/8]}
fleets:
  live: {endpoints: ["http://127.0.0.1:9001", "http://127.0.0.1:9003"]}
  shadow: {endpoints: ["http://127.0.0.1:9002"]}
limits: {body: 1MiB}
routes:
  - name: orders
    match: {path: /orders, headers: {x-beta: "1"}}
    live: live
    mirror:
      - to: shadow
        key: header:x-user-id
        percent: 30
        methods: [GET, POST]
        headers: {set: {X-Env: dark}, remove: [X-Secret]}
        host: suffix:.dark
  - {name: reads, match: {methods: [GET, HEAD, OPTIONS]}, live: live, mirror: [{to: shadow, percent: 25}]}
"""


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """The file above."""
    path = tmp_path / "c.yaml"
    path.write_text(CONFIG)
    return path


def _explain(config: Path, capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, dict[str, Any]]:
    code = main(["explain", "-c", str(config), "--output", "json", *arguments])
    return code, json.loads(capsys.readouterr().out)


def test_route_fleet_and_mirrors_are_shown(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """For people: each earlier route's failed condition, where the request goes, and what the copy looks like."""
    assert main(["explain", "-c", str(config), "/x?q=1", "-H", "Cookie: a=b"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "GET /x?q=1  (127.0.0.1:8080, from 127.0.0.1 at front)",
        "route orders: no: path /x is not /orders nor below /orders/",
        "route reads: takes it",
        "live: live (http://127.0.0.1:9001, http://127.0.0.1:9003)",
        "mirror shadow to shadow (http://127.0.0.1:9002): copied with 25 % probability",
        "  the mirror has no key: each request by itself; 25 % of such requests are copied",
        "  removed: cookie",
        "  added: x-forwarded-for, x-forwarded-proto, x-forwarded-host, via, traceparent, x-shadow-mirror",
        "  head:",
        "    GET /x?q=1 HTTP/1.1",
        "    Host: 127.0.0.1:8080",
        "    X-Forwarded-For: 127.0.0.1",
        "    X-Forwarded-Proto: http",
        "    X-Forwarded-Host: 127.0.0.1:8080",
        "    Via: 1.1 shadowproxy",
        "    traceparent: 00-<new trace>-<new span>-01",
        "    X-Shadow-Mirror: shadow;by=<instance>",
    ]


def test_a_sticky_unit_is_shown_with_its_point(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A unit in the sampled range is copied by this mirror's header rules; one outside is counted as such."""
    request = ["POST /orders", "-H", "X-Beta: 1", "-H", "Host: shop.example:80", "-H", "X-Secret: s", "--body-bytes", "7"]
    code, found = _explain(config, capsys, *request, "-H", "X-User-Id: u4")
    assert code == 0
    (mirror,) = found["mirrors"]
    assert mirror["unit"] == {"from": "header x-user-id", "value": "u4", "point": pytest.approx(0.1916, abs=0.0001)}
    assert mirror["decision"] == "copy"
    assert mirror["share"] == 1.0
    assert "Host: shop.example.dark:80" in mirror["head"]
    assert "Content-Length: 7" in mirror["head"]
    assert mirror["removed"] == ["x-secret"]
    assert mirror["added"][-2:] == ["x-shadow-mirror", "x-env"]
    code, found = _explain(config, capsys, *request, "-H", "X-User-Id: u7")
    assert found["mirrors"][0]["decision"] == "not_sampled"
    assert found["mirrors"][0]["head"] == []


def test_a_tagged_write_without_a_rule_is_refused(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """409, and the rule that is missing is named; a tagged read passes."""
    tagged = ["-H", "X-Beta: 1", "-H", "x_test_traffic: yes"]
    code, found = _explain(config, capsys, "POST /orders", *tagged)
    assert code == 1
    assert found["refused"]["status"] == 409
    assert "'orders'" in found["refused"]["detail"]
    assert "test_traffic.writes" in found["refused"]["detail"]
    assert found["mirrors"] == []
    code, found = _explain(config, capsys, "GET /orders", *tagged)
    assert code == 0
    assert found["request"]["is_tagged"]


@pytest.mark.parametrize(
    ("arguments", "status", "code"),
    [
        (["PUT /x"], 404, "no_route"),
        (["GET  /x"], 400, "malformed_request_line"),
        (["GET x"], 400, "malformed_head"),
        (["GET /x HTTP/2.0"], 505, "unsupported_version"),
        (["BREW /pot"], 501, "unknown_method"),
        (["/x", "-H", "Host: a", "-H", "host: b"], 400, "duplicate_host"),
        (["/x", "-H", "Content-Length: 1", "-H", "Transfer-Encoding: chunked"], 400, "malformed_head"),
        (["/x", "-H", "X: " + "y" * 70000], 431, "head_too_long"),
        (["/" + "y" * 17000], 414, "request_line_too_long"),
        (["/x", "--body-bytes", "1048577"], 413, "body_too_large"),
        (["/x", "-H", "Via: " + "1.1 shadowproxy, " * 9], 508, "mirror_loop"),
        (["TRACE /orders", "-H", "X-Beta: 1", "-H", "Max-Forwards: 0"], 405, "max_forwards"),
    ],
)
def test_what_would_be_refused_is_said(
    config: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], status: int, code: str
) -> None:
    """With the status and the code that the client would get, and exit code 1."""
    exit_code, found = _explain(config, capsys, *arguments)
    assert exit_code == 1
    assert (found["refused"]["status"], found["refused"]["code"]) == (status, code)
    assert found["mirrors"] == []
    assert main(["explain", "-c", str(config), *arguments]) == 1
    assert f"answered here: {status} {code}" in capsys.readouterr().out


def test_options_at_its_last_hop_is_answered_here(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """That is an answer and no refusal."""
    code, found = _explain(config, capsys, "OPTIONS /x", "-H", "Max-Forwards: 0")
    assert code == 0
    assert found["refused"]["status"] == 200


def test_a_mark_counts_from_a_trusted_proxy_only(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A stranger's mark keeps no request out of the comparison."""
    request = ["/x", "-H", "X-Shadow-Mirror: other;by=abc", "--client", "10.1.2.3"]
    _, trusted = _explain(config, capsys, *request, "--listener", "back")
    assert trusted["mirrors"][0]["decision"] == "marked"
    _, stranger = _explain(config, capsys, *request)
    assert stranger["mirrors"][0]["decision"] == "by_chance"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["/x", "--listener", "side"], "no listener is called 'side'; there is front, back"),
        (["/x", "--client", "nowhere"], "--client"),
        (["/x", "--body-bytes", "-1"], "--body-bytes"),
        ([], "REQUEST"),
    ],
)
def test_wrong_usage_is_said(config: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], said: str) -> None:
    """Exit code 2, and what was wrong."""
    with pytest.raises(SystemExit) as exit_:
        main(["explain", "-c", str(config), *arguments])
    assert exit_.value.code == 2
    assert said in capsys.readouterr().err


@pytest.mark.parametrize(
    ("request_", "lines"),
    [
        ("GET /x?q=1", ["Cookie: a=b", "Accept: */*", "Connection: x-hop", "X-Hop: 1"]),
        ("POST /x", ["Transfer-Encoding: chunked", "TE: trailers", "X-Forwarded-For: 1.2.3.4", "Via: 1.1 other"]),
        ("POST http://other.example/x", ["Content-Length: 003", "traceparent: 00-" + "7" * 32 + "-" + "1" * 16 + "-00", "X-Env: client"]),
        ("GET /x", ["Host:", "Authorization: secret"]),
    ],
)
def test_the_copy_that_was_explained_is_the_copy_that_comes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], request_: str, lines: list[str]
) -> None:
    """The data plane sends the shadow the very lines, but for the trace, the span and the instance."""
    room = Room(MIRRORED | {"mirror": [MIRRORED["mirror"][0] | {"headers": {"set": {"X-Env": "dark"}}, "host": "literal:dark"}]})
    path = tmp_path / "room.json"
    path.write_text(json.dumps(to_plain(room.worker.config)))
    arguments = [word for line in lines for word in ("-H", line)]
    _, found = _explain(path, capsys, request_, "--client", "192.0.2.1", *arguments)
    client, _, shadow = room.client(), room.upstream("live"), room.upstream("shadow")
    hosts = [] if any(line.startswith("Host") for line in lines) else ["Host: 127.0.0.1:1234"]
    client.says("\r\n".join([f"{request_} HTTP/1.1", *hosts, *lines, "", ""]).encode())
    came = shadow.heard.decode().split("\r\n")[:-2]
    assert [_plain(line) for line in found["mirrors"][0]["head"]] == [_plain(line) for line in came]


def _plain(line: str) -> str:
    """A line without what is made anew for each copy."""
    name = line.partition(":")[0]
    return name if name in {"traceparent", "X-Shadow-Mirror"} else line


def test_a_copy_that_is_scrubbed_is_said_to_be(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The head is shown as it is handed to the scrubber, and that it is not sent like that."""
    config.write_text(CONFIG.replace("mirror: [{to: shadow, percent: 25}]", "mirror: [{to: shadow, scrub: true}]"))
    assert main(["explain", "-c", str(config), "/x"]) == 0
    assert "pseudonyms take the place of its secrets before it is sent" in capsys.readouterr().out
    _, found = _explain(config, capsys, "/x")
    assert found["mirrors"][0]["scrubbed"] is True


TESTS = """
listen: ["127.0.0.1:8080"]
fleets: {live: {endpoints: ["http://127.0.0.1:9001"]}, spare: {endpoints: ["http://127.0.0.1:9002"]}}
routes:
  - {name: sunk, match: {path: /sunk}, live: live, test_traffic: {writes: {sink: orders}, treat: [{counts_as: read, exact: /sunk/search}]}}
  - {name: same, match: {path: /same}, live: live, test_traffic: {writes: {partition: {path_prefix: "/t/{tenant}", headers: {X-T: "{tenant}"}}}}}
  - {name: other, match: {path: /other}, live: live, test_traffic: {writes: {partition: {fleet: spare}}}}
  - {name: live, match: {path: /live}, live: live, test_traffic: {writes: live}}
sinks: {orders: {resources: {collections: [{path: /sunk}]}}}
"""


@pytest.mark.parametrize(
    ("request_", "said"),
    [
        ("POST /sunk", ["counts as a write: goes to sink orders", "written to the ledger first", "live hears nothing of it"]),
        ("GET /sunk", ["counts as a read: goes to live", "sink orders is asked first", "live: live (http://127.0.0.1:9001)"]),
        ("POST /sunk/search", ["counts as a read: goes to live"]),
        (
            "POST /same/x",
            ["goes to partition live", "as /t/bot/same/x", "with x-t: bot", "partition of live: live (http://127.0.0.1:9001)"],
        ),
        ("POST /other", ["goes to partition spare", "live hears nothing of it"]),
        ("DELETE /live", ["counts as a write: goes to live", "written to the ledger first"]),
    ],
)
def test_where_a_test_goes_is_shown(tmp_path: Path, capsys: pytest.CaptureFixture[str], request_: str, said: list[str]) -> None:
    """What it is taken for, where it goes, and what live hears of it."""
    path = tmp_path / "tests.yaml"
    path.write_text(TESTS)
    assert main(["explain", "-c", str(path), request_, "-H", "X-Test-Traffic: bot"]) == 0
    shown = capsys.readouterr().out
    assert all(line in shown for line in said), shown


def test_a_test_that_could_leave_its_partition_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """As it would be by the proxy."""
    path = tmp_path / "tests.yaml"
    path.write_text(TESTS)
    code, found = _explain(path, capsys, "POST /same/../x", "-H", "X-Test-Traffic: bot")
    assert code == 1
    assert found["refused"]["code"] in {"tagged_write_without_rule", "no_route", "path_escapes_partition"}
