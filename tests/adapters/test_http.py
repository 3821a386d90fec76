"""The endpoint adapter against a real HTTP server."""

from __future__ import annotations

import base64
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pandas as pd
import pytest

from crenel.adapters import load_model
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
