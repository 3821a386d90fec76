"""The endpoint adapter against a real HTTP server."""

from __future__ import annotations

import base64
import json
import threading
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pandas as pd
import pytest

from crenel.adapters import load_model, sending
from crenel.errors import NotApplicable, SubjectError, UsageError

X = np.linspace(-2, 2, 60).reshape(30, 2)


class Server:
    """A model server whose replies a test sets."""

    def __init__(self):
        self.requests, self.failures, self.answer = [], [], None
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                outer.requests.append((self.path, dict(self.headers), body))
                status, headers, text = 200, {}, None
                if outer.failures:
                    status, headers = outer.failures.pop(0)
                    text = "try later\nsecond line"
                reply = (text or json.dumps(outer.answer(body))).encode()
                self.send_response(status)
                for key, value in headers.items():
                    self.send_header(key, value)
                self.send_header("Content-Length", str(len(reply)))
                self.end_headers()
                self.wfile.write(reply)

            def log_message(self, *args):
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_port}"
        threading.Thread(target=self.http.serve_forever, daemon=True).start()


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    made = Server()
    yield made
    made.http.shutdown()
    made.http.server_close()


def p_of(rows):
    return 1 / (1 + np.exp(-np.array(rows, dtype=float)[:, 0]))


def matrix(body):
    p = p_of(body["instances"])
    return {"predictions": np.column_stack([1 - p, p]).tolist()}


def wrapped(server, path="/v1/models/m:predict", rows=X, classes=("no", "yes"), **endpoint):
    endpoint.setdefault("backoff", 0.01)
    return load_model(
        server.url + path, endpoint=endpoint, sample=rows[:8], classes=classes and list(classes)
    )


def test_probabilities_in_batches(server):
    server.answer = matrix
    model = wrapped(server, batch=7)
    server.requests.clear()
    p = model.probabilities(X)
    assert np.allclose(p[:, 1], p_of(X))
    assert [len(body["instances"]) for _, _, body in server.requests] == [7, 7, 7, 7, 2]
    assert server.requests[0][0] == "/v1/models/m:predict"
    assert model.remote
    assert model.framework == "http"
    assert model.fit is None
    assert np.array_equal(model.predict(X), p_of(X) > 0.5)


def test_labels_alone_are_decisions(server):
    server.answer = lambda body: {
        "predictions": ["yes" if p > 0.5 else "no" for p in p_of(body["instances"])]
    }
    model = wrapped(server)
    assert model.score is None
    assert np.array_equal(model.predict(X), p_of(X) > 0.5)
    with pytest.raises(NotApplicable):
        model.probabilities(X)


def test_one_score_and_maps_of_scores(server):
    server.answer = lambda body: {"predictions": p_of(body["instances"]).tolist()}
    assert np.allclose(wrapped(server).probabilities(X)[:, 1], p_of(X))

    def maps(body):
        return {"predictions": [{"yes": p, "no": 1 - p} for p in p_of(body["instances"])]}

    server.answer = maps
    assert np.allclose(wrapped(server).probabilities(X)[:, 1], p_of(X))
    unnamed = wrapped(server, classes=None)
    assert list(unnamed.classes) == ["yes", "no"]
    assert np.allclose(unnamed.probabilities(X)[:, 0], p_of(X))
    with pytest.raises(SubjectError, match=r"scores for the labels \['yes', 'no'\]"):
        wrapped(server, classes=("ja", "nein"))


def test_mlflow_gets_the_table_with_names_and_nulls(server):
    frame = pd.DataFrame({"a": [1.5, np.nan], "b": ["x", None], "c": [1, 2], "d": [True, False]})
    server.answer = lambda body: {"predictions": [0.25] * len(body["dataframe_split"]["data"])}
    wrapped(server, "/invocations", rows=frame)
    sent = server.requests[-1][2]["dataframe_split"]
    assert sent == {
        "columns": ["a", "b", "c", "d"],
        "data": [[1.5, "x", 1, True], [None, None, 2, False]],
    }
    server.answer = lambda body: {"predictions": [0.25] * len(body["inputs"])}
    assert (wrapped(server, protocol="mlflow").probabilities(X)[:, 1] == 0.25).all()


def test_busy_servers_are_asked_again_and_their_wish_to_wait_is_kept(server):
    server.answer = matrix
    server.failures = [(503, {}), (429, {"Retry-After": "0"}), (500, {})]
    model = wrapped(server)
    assert len(server.requests) == 4
    assert np.allclose(model.probabilities(X)[:, 1], p_of(X))


def test_a_server_that_stays_broken_is_told(server):
    server.answer = matrix
    server.failures = [(503, {})] * 9
    with pytest.raises(SubjectError, match=r"answered 503 Service Unavailable: try later$"):
        wrapped(server, retries=2)
    assert len(server.requests) == 3


@pytest.mark.parametrize(
    ("code", "hint"),
    [(401, "give endpoint.headers"), (404, "is the path right"), (400, "try later")],
)
def test_other_refusals_are_not_repeated(server, code, hint):
    server.answer = matrix
    server.failures = [(code, {})]
    with pytest.raises(SubjectError, match=f"answered {code} .*{hint}"):
        wrapped(server)
    assert len(server.requests) == 1


def test_headers_take_secrets_from_the_environment(server, monkeypatch):
    server.answer = matrix
    monkeypatch.setenv("CRENEL_TEST_TOKEN", "s3cret")
    wrapped(server, headers={"Authorization": "Bearer ${CRENEL_TEST_TOKEN}"})
    assert server.requests[0][1]["Authorization"] == "Bearer s3cret"
    monkeypatch.delenv("CRENEL_TEST_TOKEN")
    with pytest.raises(UsageError, match="environment variable CRENEL_TEST_TOKEN is not set"):
        wrapped(server, headers={"Authorization": "Bearer ${CRENEL_TEST_TOKEN}"})


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        ({"result": []}, 'without a list of "predictions"'),
        ({"predictions": [0.5]}, "gave 1 predictions for 8 rows"),
        ({"predictions": [[0.5, 0.5]] * 7 + [[1.0]]}, "predictions of different lengths"),
    ],
)
def test_answers_of_the_wrong_form(server, answer, message):
    server.answer = lambda body: answer
    with pytest.raises(SubjectError, match=message):
        wrapped(server)


def test_a_user_in_the_url_is_sent_as_basic_authentication(server):
    server.answer = matrix
    url = server.url.replace("http://", "http://ann:s%40fe@")
    model = load_model(url, classes=[0, 1], sample=X)
    assert base64.b64decode(server.requests[0][1]["Authorization"].split()[1]) == b"ann:s@fe"
    assert "ann" not in model.description


def test_an_absent_server_and_passwords_in_urls():
    with pytest.raises(SubjectError) as told:
        load_model(
            "http://user:hidden@127.0.0.1:9/x",
            endpoint={"retries": 1, "backoff": 0.0},
            classes=[0, 1],
            sample=X,
        )
    assert "http://127.0.0.1:9/x cannot be reached" in str(told.value)
    assert "2 tries" in str(told.value)
    assert "hidden" not in str(told.value)


def test_settings_are_checked():
    with pytest.raises(UsageError, match="unknown key 'bach'; did you mean 'batch'"):
        load_model("http://127.0.0.1:9", endpoint={"bach": 3})
    with pytest.raises(UsageError, match="use 'kserve' or 'mlflow'"):
        load_model("http://127.0.0.1:9", endpoint={"protocol": "grpc"})
    with pytest.raises(UsageError, match="above 0"):
        load_model("http://127.0.0.1:9", endpoint={"batch": 0})


@pytest.fixture
def waits(monkeypatch):
    """What the adapter would have slept."""
    slept = []
    monkeypatch.setattr(sending.time, "sleep", slept.append)
    return slept


def test_retry_after_is_kept_and_else_waits_double(server, waits):
    server.answer = matrix
    in_a_minute = format_datetime(datetime.now(UTC) + timedelta(seconds=60), usegmt=True)
    server.failures = [
        (429, {"Retry-After": "7"}), (503, {"Retry-After": in_a_minute}),
        (500, {}), (502, {"Retry-After": "soon"}),
    ]  # fmt: skip
    wrapped(server, backoff=0.5)
    assert waits[0] == 7
    assert waits[1] == pytest.approx(60, abs=10)
    assert waits[2:] == [2.0, 4.0]


def test_a_wish_beyond_patience_is_told(server, waits):
    server.answer = matrix
    server.failures = [(429, {"Retry-After": "3600"})]
    with pytest.raises(SubjectError, match=r"asks to wait 3600 s; raise endpoint\.patience"):
        wrapped(server)
    assert waits == []


def test_requests_keep_the_rate(server, waits):
    server.answer = matrix
    model = wrapped(server, batch=3, rate=0.5)
    server.requests.clear()
    waits.clear()
    model.probabilities(X)  # 10 requests
    assert len(server.requests) == 10
    # no sleep is real here, so that each request finds the turns of all before it still ahead
    assert np.allclose(np.diff(waits), 2.0, atol=1.0)
    assert model.native.meter.waited >= sum(waits)


def test_answers_that_are_paid_for_are_not_asked_again(server, waits):
    server.answer = matrix
    model = wrapped(server, batch=10, retries=1)
    server.requests.clear()
    healthy, asked = matrix, []

    def third_fails(body):
        asked.append(len(body["instances"]))
        if len(asked) == 2:
            server.failures = [(500, {})] * 2
        return healthy(body)

    server.answer = third_fails
    with pytest.raises(SubjectError, match="answered 500"):
        model.probabilities(X)
    assert asked == [10, 10]
    assert np.allclose(model.probabilities(X)[:, 1], p_of(X))
    assert asked == [10, 10, 10]  # the third batch alone
    model.probabilities(X)
    assert asked == [10] * 6  # later questions are asked: a model may answer otherwise


def test_batches_that_are_too_large_are_halved(server):
    server.answer = matrix
    model = wrapped(server, batch=30)
    server.requests.clear()
    server.failures = [(413, {}), (413, {})]
    assert np.allclose(model.probabilities(X)[:, 1], p_of(X))
    assert [len(body["instances"]) for _, _, body in server.requests] == [30, 15, 7, 8, 15]


def test_broken_answers_are_asked_again(server, waits):
    server.answer = matrix
    model = wrapped(server)
    server.failures = [(200, {"Content-Length": "9999"})]  # the connection ends before the body
    assert np.allclose(model.probabilities(X)[:, 1], p_of(X))


def test_the_meter_is_exact_under_errors(server, waits):
    rng = np.random.default_rng(0)
    answered = []

    def counted(body):
        answered.append(len(body["instances"]))
        if rng.random() < 0.1:
            server.failures.append((503, {}))
        return matrix(body)

    server.answer = counted
    model = wrapped(server, batch=2)
    answered.clear()
    server.requests.clear()
    before = model.native.meter.rows, model.native.meter.requests, model.native.meter.tries
    for _ in range(10):
        assert np.allclose(model.probabilities(X)[:, 1], p_of(X))
    meter = model.native.meter
    assert meter.rows - before[0] == 300
    assert meter.requests - before[1] == 150
    assert meter.tries - before[2] == len(server.requests) > 150


def test_an_attack_over_the_network_counts_what_the_server_counts(server, waits):
    from crenel.evasion.blackbox import query_attack

    rng = np.random.default_rng(0)
    answered = []

    def flaky(body):
        answered.append(len(body["instances"]))
        if rng.random() < 0.05:
            server.failures.append((429, {"Retry-After": "1"}))
        return matrix(body)

    server.answer = flaky
    model = wrapped(server, batch=16)
    rows = X[np.abs(X[:, 0]) > 0.1]
    answered.clear()
    got = query_attack(
        model.predict, rows, model.predict(rows), scores=model.score, bounds=(-2, 2), queries=60
    )
    assert got.stopped == ""
    assert np.allclose(got.distance, np.abs(rows[:, 0]), rtol=0.02)
    assert got.asked + len(rows) == sum(answered)
