"""Who may come in: hosts, pages of other sites, and keys."""

from __future__ import annotations

from typing import Any

import pytest
from client import API, serving
from workflows import quick

from flow.errors import UsageError
from flow.http import Keys, Service
from flow.http.entrance import _FAILURES, ADDRESSES
from flow.http.routes import table

OPEN = {"/live", "/ready", "/login"}
SCOPES = ("read", "run", "admin")
RUNS = f"{API}/workflows/quick/runs"


def keyed(scope: str) -> tuple[Keys, dict[str, str]]:
    keys = Keys.memory()
    return keys, {"authorization": f"Bearer {keys.add('a', scope)}"}


def told(got: Any, status: int) -> str:
    """Return what a problem says, which it is."""
    assert got.status == status, got
    assert got.headers["content-type"] == "application/problem+json"
    assert got.json["request_id"] == got.headers["x-request-id"]
    return str(got.json["detail"] or got.json["title"])


class TestHosts:
    @pytest.mark.parametrize(
        "host", ["localhost", "localhost:8080", "LOCALHOST:1", "127.0.0.1", "127.0.0.1:80", "[::1]", "[::1]:8080"]
    )
    def test_the_loopbacks_names(self, host: str) -> None:
        with serving({"quick": quick()}) as client:
            for _ in range(2):
                assert client.like(host=host).get(f"{API}/runs").status == 200

    @pytest.mark.parametrize(
        "host",
        [
            "evil.com", "evil.com:8080", "localhost.evil.com", "evil.com:localhost", "127.0.0.1.evil.com", "",
            "0.0.0.0", "::1", "[::1", "[::2]", "localhost:80:90", "localhost.", "user@localhost", "localhost/", " ",
            "\x80", "localhost:", "localhost:http", "localhost:123456", "localhost:80 ", "localhost:-1",
        ],
    )  # fmt: skip
    def test_others_are_refused_so_that_no_rebound_name_reaches_it(self, host: str) -> None:
        with serving({"quick": quick()}) as client:
            for _ in range(2):
                other = client.like(host=host)
                said = told(other.get(f"{API}/runs"), 421)
                assert said.startswith("this service answers to localhost, 127.0.0.1 and [::1] alone, not to ")
                assert said.endswith(": name it by --allow-host, or in Service(hosts=[...])")
                told(other.start("quick"), 421)
                told(other.start("nope"), 421)
            assert client.get(f"{API}/runs").json["runs"] == []

    def test_names_that_are_given(self) -> None:
        with serving({"quick": quick()}, hosts=["Flow.example", "10.0.0.1", "fe80::1"]) as client:
            for host in ("flow.example", "FLOW.example:80", "10.0.0.1:8080", "[fe80::1]:8080"):
                assert client.like(host=host).get(f"{API}/runs").status == 200
            for host in ("localhost", "flow.example.com", "example"):
                assert client.like(host=host).get(f"{API}/runs").status == 421

    @pytest.mark.parametrize(
        ("hosts", "said"),
        [
            (["a"], "answers to a alone, not to 'evil.com':"),
            (["a", "B", "a"], "answers to a and b alone,"),
            (list("abcde"), "answers to a, b, c, d and e alone,"),
            (list("abcdef"), "answers to a, b, c, d, e and 1 more alone,"),
            ([*"abcdef", "10.0.0.1", ADDRESSES], "answers to IP addresses, a, b, c, d and 2 more alone,"),
            ([], "answers to no name alone,"),
        ],
    )
    def test_who_is_refused_is_told_which_names_there_are(self, hosts: list[str], said: str) -> None:
        with serving({"quick": quick()}, hosts=hosts) as client:
            assert said in told(client.like(host="evil.com:8080").get(f"{API}/runs"), 421)

    def test_addresses_are_answered_and_no_name_that_looks_like_one(self) -> None:
        with serving({"quick": quick()}, hosts=["box", ADDRESSES]) as client:
            for host in ("10.0.0.1", "10.0.0.1:8080", "[fe80::1]", "[FE80::1]:8080", "box:8080", "0.0.0.0"):
                for _ in range(2):
                    assert client.like(host=host).get(f"{API}/runs").status == 200, host
            for host in ("evil.com", "10.0.0.1.evil.com", "10.0.0", "10.0.0.256", "010.0.0.1", "1", "0x7f.1", "fe80::1",
                         "[fe80::1", "[10.0.0.1]", "[evil.com]", ADDRESSES, "localhost", ""):  # fmt: skip
                told(client.like(host=host).get(f"{API}/runs"), 421)

    def test_any(self) -> None:
        with serving({"quick": quick()}, hosts=["*"]) as client:
            assert client.like(host="what.ever").get(f"{API}/runs").status == 200

    def test_with_keys_any_unless_they_are_given(self) -> None:
        keys, headers = keyed("read")
        with serving({"quick": quick()}, auth=keys) as client:
            assert client.like(host="flow.example").get(f"{API}/runs", headers=headers).status == 200
        with serving({"quick": quick()}, auth=keys, hosts=["flow.example"]) as client:
            assert client.like(host="evil.com").get(f"{API}/runs", headers=headers).status == 421

    def test_a_text_is_no_list(self) -> None:
        with pytest.raises(UsageError, match=r"hosts are a list of names, not a text: \['localhost'\]"):
            Service({"quick": quick()}, hosts="localhost")

    def test_the_names_that_are_remembered_are_bounded(self) -> None:
        with serving({"quick": quick()}) as client:
            for port in range(1_200):
                client.app.entrance._is_host(b"localhost:%d" % port)
            assert len(client.app.entrance._seen) == 1_000


class TestPagesOfOtherSites:
    """What a browser sends for a page of another site, while the service has no keys."""

    @pytest.mark.parametrize(
        "headers",
        [
            {"origin": "http://evil.com"}, {"origin": "null"}, {"origin": "http://localhost:9"},
            {"origin": "https://localhost.evil.com"}, {"sec-fetch-site": "cross-site"}, {"sec-fetch-site": "same-site"},
            {"origin": "http://localhost:8080", "sec-fetch-site": "cross-site"},
            {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate"},
        ],
    )  # fmt: skip
    def test_they_start_no_run(self, headers: dict[str, str]) -> None:
        with serving({"quick": quick()}) as client:
            assert told(client.start("quick", headers=headers), 403) == "pages of other sites may not ask this service"
            told(client.post(f"{API}/workflows/trigger", {"workflow": "quick"}, headers=headers), 403)
            told(client.post(f"{API}/runs/a/cancel", headers=headers), 403)
            assert client.get(f"{API}/runs").json["runs"] == []

    @pytest.mark.parametrize("headers", [{"origin": "http://evil.com"}, {"sec-fetch-site": "cross-site"}])
    def test_they_read_nothing(self, headers: dict[str, str]) -> None:
        with serving({"quick": quick()}) as client:
            for url in (f"{API}/runs", "/", "/metrics", "/openapi.json"):
                told(client.get(url, headers=headers), 403)

    def test_a_link_to_the_page_is_followed(self) -> None:
        with serving({"quick": quick()}) as client:
            headers = {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate"}
            assert client.get("/", headers=headers).status == 200
            told(client.get("/", headers={**headers, "origin": "http://evil.com"}), 403)
            told(client.get("/", headers={**headers, "sec-fetch-mode": "no-cors"}), 403)

    def test_its_own_page_and_programs_ask_freely(self) -> None:
        with serving({"quick": quick()}) as client:
            own = {"origin": "http://localhost:8080", "sec-fetch-site": "same-origin"}
            assert client.start("quick", headers=own).status == 200
            assert client.start("quick", headers={"sec-fetch-site": "none"}).status == 200
            assert client.start("quick").status == 200

    @pytest.mark.parametrize(
        "media", ["", "text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x",
                  "application/jsonx", "text/json", "application/json, text/plain"],
    )  # fmt: skip
    def test_no_form_is_taken(self, media: str) -> None:
        with serving({"quick": quick()}) as client:
            for url in (RUNS, f"{API}/workflows/trigger", f"{API}/runs/a/cancel"):
                got = client.post(url, b'{"inputs":{}}', headers={"content-type": media})
                assert told(got, 415) == "POST takes JSON alone: send 'Content-Type: application/json'"

    @pytest.mark.parametrize("media", ["application/json; charset=utf-8", "Application/JSON", "application/json ;x=y"])
    def test_json_is(self, media: str) -> None:
        with serving({"quick": quick()}) as client:
            assert client.start("quick", headers={"content-type": media}).status == 200

    def test_with_keys_a_page_needs_a_key_of_its_own(self) -> None:
        keys, headers = keyed("run")
        cookie = keys.redeem(keys.link_token())
        with serving({"quick": quick()}, auth=keys) as client:
            evil = {"origin": "http://evil.com", "sec-fetch-site": "cross-site"}
            assert client.start("quick", headers={**evil, **headers}).status == 200
            told(client.start("quick", headers=evil), 401)
            with_cookie = {**evil, "cookie": f"flow_session={cookie}"}
            told(client.get(f"{API}/runs", headers=with_cookie), 403)
            told(client.start("quick", headers=with_cookie), 403)


class TestKeys:
    @pytest.mark.parametrize("scope", SCOPES)
    def test_each_route_needs_its_scope(self, scope: str) -> None:
        keys, headers = keyed(scope)
        fills = {"{id}": "nope", "{name}": "quick", "{address}": "a"}
        with serving({"quick": quick()}, auth=keys) as client:
            for entry in table():
                path = entry.path
                for part, filled in fills.items():
                    path = path.replace(part, filled)
                without = client.ask(entry.method, path, b"{}")
                got = client.ask(entry.method, path, b"{}", headers=headers)
                if path in OPEN:
                    assert entry.needs is None
                    assert without.status == got.status != 401
                    continue
                assert told(without, 401) == "give a key: 'Authorization: Bearer flow_...'", path
                assert without.headers["www-authenticate"] == 'Bearer realm="flow"'
                assert entry.needs is not None, path
                if SCOPES.index(entry.needs) > SCOPES.index(scope):
                    assert told(got, 403) == f"this key does not allow that: it needs the scope {entry.needs!r}"
                else:
                    assert got.status in (200, 404, 409, 422), path

    def test_what_changes_something_needs_more_than_reading(self) -> None:
        assert {entry.needs for entry in table() if entry.method == "POST"} == {"run"}
        assert {entry.needs for entry in table() if entry.method == "GET"} == {None, "read", "admin"}
        assert {entry.path for entry in table() if entry.needs is None} == OPEN

    def test_the_hot_way_needs_one(self) -> None:
        keys, headers = keyed("run")
        with serving({"quick": quick()}, auth=keys) as client:
            told(client.start("quick"), 401)
            told(client.start("nope"), 401)  # which names there are is told to nobody
            assert client.start("quick", headers=headers).status == 200

    def test_ways_to_give_it(self) -> None:
        keys = Keys.memory()
        key = keys.add("a")
        with serving({"quick": quick()}, auth=keys) as client:
            for headers in (
                {"authorization": f"Bearer {key}"},
                {"authorization": f"bearer  {key} "},
                {"x-api-key": key},
            ):
                assert client.start("quick", headers=headers).status == 200
            for headers in (
                {"authorization": f"Basic {key}"}, {"authorization": key}, {"authorization": f"Bearer {key}x"},
                {"authorization": "Bearer"}, {"authorization": "Bearer \x80\xff"}, {"x-api-key": key[:-1]},
                {"x-api-key": "é"},
                {"cookie": f"flow_session={key}"}, {"cookie": key}, {"authorization": "Bearer flow_", "x-api-key": key},
            ):  # fmt: skip
                told(client.start("quick", headers=headers), 401)
            told(client.post(f"{RUNS}?key={key}"), 401)

    def test_a_removed_key(self) -> None:
        keys, headers = keyed("run")
        with serving({"quick": quick()}, auth=keys) as client:
            assert client.start("quick", headers=headers).status == 200
            keys.remove("a")
            told(client.start("quick", headers=headers), 401)

    def test_a_cookie_reads_and_does_nothing_else(self) -> None:
        keys = Keys.memory()
        headers = {"cookie": f"other=1; flow_session={keys.redeem(keys.link_token())}"}
        with serving({"quick": quick()}, auth=keys) as client:
            for url in ("/", f"{API}/runs", "/metrics", "/openapi.json"):
                assert client.get(url, headers=headers).status == 200
                assert client.ask("HEAD", url, headers=headers).status == 200
            for url in (RUNS, f"{API}/runs/a/cancel"):
                said = told(client.post(url, headers=headers), 403)
                assert said == "the page's link only reads: give a key with the scope 'run'"
                told(client.post(url, headers={"cookie": "flow_session=x"}), 401)
            told(client.get("/health/detailed", headers=headers), 401)

    def test_a_link_gives_a_cookie_once(self) -> None:
        keys = Keys.memory()
        with serving({"quick": quick()}, auth=keys) as client:
            url = f"/login?token={keys.link_token()}"
            got = client.get(url)
            assert (got.status, got.headers["location"], got.body) == (303, "/", b"")
            cookie = got.headers["set-cookie"]
            assert cookie.partition("; ")[2] == "HttpOnly; SameSite=Strict; Path=/; Max-Age=43200"
            assert client.get("/", headers={"cookie": cookie.partition(";")[0]}).status == 200
            told(client.get(url), 403)
            for other in ("", "?token=", "?token=x", f"?token={keys.link_token()}x"):
                told(client.get(f"/login{other}"), 403)

    def test_failures_are_throttled_by_address_and_known_keys_are_not(self) -> None:
        keys, headers = keyed("run")
        with serving({"quick": quick()}, auth=keys) as client:
            for _ in range(_FAILURES.count):
                told(client.start("quick", headers={"authorization": "Bearer flow_x_y"}), 401)
            got = client.start("quick")
            told(got, 429)
            assert int(got.headers["retry-after"]) >= 1
            assert client.start("quick", headers=headers).status == 200
            told(client.like("10.0.0.9").start("quick"), 401)

    def test_without_keys_a_link_opens_nothing(self) -> None:
        with serving({"quick": quick()}) as client:
            told(client.get("/login?token=x"), 403)
