"""EVA-105 on a text Pipeline that answers over HTTP, as servers of models really take texts."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.compose import make_column_transformer
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import crenel
from crenel.auditor.execute import execute
from crenel.data import load_target
from crenel.evasion import checks
from crenel.evasion.text import controls
from crenel.target import Target

BASE = controls.one_word_decides()
#: A name for each class, so that labels over HTTP are words.
NAMES = np.array(["letter", "spam"])


class Served:
    """A server whose replies a function gives; it counts rows and fails now and then."""

    def __init__(self, answer: Callable[[Any], Any], fails: int = 0) -> None:
        self.rows, self.requests, self.failed = 0, 0, 0
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                outer.requests += 1
                status = 200
                if fails and outer.requests % fails == 0:
                    status, text = 503, "busy"
                else:
                    try:
                        found = answer(body)
                        outer.rows += len(found)
                        text = json.dumps({"predictions": found})
                    except Exception as error:  # as servers do
                        status, text = 500, f"{type(error).__name__}: {error}"
                outer.failed += status != 200
                reply = text.encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(reply)))
                self.end_headers()
                self.wfile.write(reply)

            def log_message(self, *args: Any) -> None:
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_port}"
        threading.Thread(target=self.http.serve_forever, daemon=True).start()


@pytest.fixture
def serve(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Served]]:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    made: list[Served] = []

    def one(answer: Callable[[Any], Any], **settings: Any) -> Served:
        made.append(Served(answer, **settings))
        return made[-1]

    yield one
    for served in made:
        served.http.shutdown()
        served.http.server_close()


def one_text() -> Any:
    """A Pipeline that takes a list of texts, as most of them do."""
    texts = BASE.train.x["message"].tolist()
    return make_pipeline(TfidfVectorizer(vocabulary=["lottery"]), LogisticRegression()).fit(
        texts, NAMES[BASE.train.y]
    )


def target(model: Any, train: Any, test: Any, **settings: Any) -> Target:
    return Target(
        name="letters", model=model, train=(train, NAMES[BASE.train.y]),
        test=(test, NAMES[BASE.test.y]), **settings,
    )  # fmt: skip


def curves(result: Any) -> dict[str, tuple[float, ...]]:
    assert result.exposures, result.outcome
    return {e.series: tuple(e.harm.values) for e in result.exposures}


FORMS: dict[str, Callable[[Any, Any], Any]] = {
    # scikit-learn behind KServe: an array of the instances, which must be texts themselves
    "values": lambda native, body: native.predict_proba(np.array(body["instances"])),
    "records": lambda native, body: native.predict_proba([r["message"] for r in body["instances"]]),
    "lists": lambda native, body: native.predict_proba([t for (t,) in body["instances"]]),
}


@pytest.mark.parametrize("form", FORMS)
def test_the_same_curves_as_without_the_network(form: str, serve: Callable[..., Served]) -> None:
    native = one_text()
    served = serve(lambda body: FORMS[form](native, body).tolist(), fails=7)
    train, test = BASE.train.x, BASE.test.x
    settings = {"backoff": 0.01, "batch": 64}
    away = load_target(target(
        f"{served.url}/v1/models/m:predict", train, test, endpoint=settings,
        classes=NAMES.tolist(),
    ))  # fmt: skip
    before, model = served.rows, away.model
    assert model is not None
    counted = model.native.meter.rows
    result = execute(checks.edited_texts, away, level="quick")
    near = load_target(target(native, train, test))
    local = execute(checks.edited_texts, near, level="quick")
    assert curves(result) == curves(local)
    assert [f.sentence for f in result.findings] == [f.sentence for f in local.findings]
    assert served.rows - before == model.native.meter.rows - counted
    assert served.failed > 0
    for exposure in result.exposures:
        assert exposure.health.ok, exposure.health


def test_decisions_alone_over_mlflow_with_other_columns(serve: Callable[..., Served]) -> None:
    rng = np.random.default_rng(0)
    train, test = (
        d.x.assign(amount=rng.normal(size=len(d.x)), note=[None, "seen twice"] * (len(d.x) // 2))
        for d in (BASE.train, BASE.test)
    )
    native = make_pipeline(
        make_column_transformer(
            (TfidfVectorizer(vocabulary=["lottery"]), "message"), (StandardScaler(), ["amount"])
        ),
        LogisticRegression(),
    ).fit(train, NAMES[BASE.train.y])
    asked: list[pd.DataFrame] = []

    def answer(body: Any) -> list[str]:
        asked.append(pd.DataFrame(**body["dataframe_split"]))
        return [str(label) for label in native.predict(asked[-1])]

    served = serve(answer)
    subject = load_target(target(
        f"{served.url}/invocations", train, test, endpoint={"backoff": 0.01},
        classes=NAMES.tolist(),
    ))  # fmt: skip
    result = execute(checks.edited_texts, subject, level="quick")
    shares = curves(result)
    assert shares["typos"][-1] == pytest.approx(BASE.test.y.mean(), abs=0.05)
    assert result.findings
    known = {round(a, 9) for a in pd.concat([train, test])["amount"]}
    texts: set[str] = set()
    for frame in asked:
        assert list(frame.columns) == list(train.columns)
        assert {round(a, 9) for a in frame["amount"]} <= known
        texts |= set(frame["message"])
    # invisible characters arrive as they were sent
    assert any(not t.isascii() for t in texts)


def test_an_audit_of_an_endpoint_of_texts(serve: Callable[..., Served]) -> None:
    """What a user runs: the same call, with a URL for the model."""
    native = one_text()
    served = serve(lambda body: FORMS["values"](native, body).tolist())
    run = crenel.audit(target(
        f"{served.url}/v1/models/m:predict", BASE.train.x, BASE.test.x,
        classes=NAMES.tolist(),
    ), checks=["EVA-105"], level="quick")  # fmt: skip
    assert {e.check for e in run.exposures} == {"EVA-105"}
    assert any("lottery" in str(f.examples) for f in run.findings)


def test_a_server_that_takes_no_form_says_why(serve: Callable[..., Served]) -> None:
    def refuse(body: Any) -> list[float]:
        raise ValueError("texts are wanted by the name of body")

    served = serve(refuse)
    with pytest.raises(crenel.errors.SubjectError, match="texts are wanted"):
        load_target(target(
            f"{served.url}/v1/models/m:predict", BASE.train.x, BASE.test.x,
            endpoint={"backoff": 0.001, "retries": 1}, classes=NAMES.tolist(),
        ))  # fmt: skip
