"""Benign files made with the libraries at hand, and those that installed packages ship.

Run as ``python benchmarks/scan/benign.py FOLDER`` in an environment of older libraries, it writes
what that environment can make, one folder for each family; it needs nothing of crenel.
"""

from __future__ import annotations

import contextlib
import io
import json
import pickle
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import joblib
import numpy as np

RNG = np.random.default_rng(0)
X = RNG.normal(size=(80, 4))
Y = (X[:, 0] > 0).astype(int)
File = tuple[str, str, bytes]
SHIPPED = {".pkl", ".pickle", ".npy", ".npz", ".onnx", ".pt", ".h5", ".yaml", ".yml", ".toml",
           ".parquet", ".pb", ".joblib", ".zip", ".gz", ".bz2", ".arff", ".json"}  # fmt: skip


def _joblib(value: object, compress: object = 0, protocol: int | None = None) -> bytes:
    buffer = io.BytesIO()
    joblib.dump(value, buffer, compress=compress, protocol=protocol)
    return buffer.getvalue()


def estimators() -> Iterator[File]:
    """Every scikit-learn estimator that can be made without arguments, fitted where it can be."""
    from sklearn.utils import all_estimators

    for index, (key, cls) in enumerate(all_estimators()):
        with contextlib.suppress(Exception):  # those of other data are left out or stay unfitted
            model = cls()
            with contextlib.suppress(Exception):
                model.fit(np.abs(X[:20]), Y[:20])
            if index % 3 == 2:
                yield "scikit-learn", f"{key}.joblib", _joblib(model)
            else:
                yield "scikit-learn", f"{key}.pkl", pickle.dumps(model, (4, 5)[index % 2])


def models() -> dict[str, object]:
    """Fitted models of several options, and tables."""
    import pandas as pd
    from sklearn.compose import ColumnTransformer
    from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression, SGDClassifier
    from sklearn.model_selection import GridSearchCV
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, StandardScaler

    frame = pd.DataFrame({"a": X[:, 0], "b": list("xy") * 40, "c": pd.Categorical(list("uv") * 40)})
    columns = ColumnTransformer(
        [("n", StandardScaler(), ["a"]), ("c", OneHotEncoder(), ["b", "c"])]
    )
    trees = HistGradientBoostingClassifier(max_iter=3)
    times = pd.date_range("2024-01-01", periods=3, tz="UTC")
    words = ["a cat sat", "a dog ran", "the cat ran", "the dog sat"]
    return {
        "forest": RandomForestClassifier(4, random_state=np.random.RandomState(0)).fit(X, Y),
        "pipeline": make_pipeline(columns, trees).fit(frame, Y),
        "grid": GridSearchCV(LogisticRegression(), {"C": [1, 2]}, scoring="roc_auc").fit(X, Y),
        "text": make_pipeline(TfidfVectorizer(), SGDClassifier()).fit(words, [0, 1, 0, 1]),
        "function": make_pipeline(FunctionTransformer(np.log1p), SGDClassifier()).fit(abs(X), Y),
        "frame": frame,
        "dates": pd.DataFrame({"t": times, "n": [1, 2, 3]}),
        "plain": {"a": [1, 2.0, "x", None, True], "b": {(1, 2): {3}}, "c": X, "d": b"\x80\x04."},
    }  # fmt: skip


def pickles() -> Iterator[File]:
    """Every protocol, and joblib with every compressor."""
    for key, model in models().items():
        for version in range(6):
            yield "pickle protocols", f"{key}-{version}.pkl", pickle.dumps(model, version)
        for method in ("zlib", "gzip", "bz2", "xz", "lzma"):
            yield "joblib", f"{key}.joblib.{method}", _joblib(model, (method, 3))
        yield "joblib", f"{key}.joblib", _joblib(model)
        yield "joblib", f"{key}-2.joblib", _joblib(model, protocol=2)


def numbers() -> Iterator[File]:
    """NumPy arrays of many types, archives of them, and tables in several formats."""
    import pandas as pd

    arrays = {
        "float": X, "half": X.astype("f2"), "int": Y, "bool": Y > 0, "complex": X + 1j,
        "text": np.array(["a", "bc"]), "bytes": np.array([b"a", b"bc"]), "empty": np.zeros((0, 3)),
        "record": np.zeros(3, [("a", "f8"), ("b", "i4", (2,)), ("c", "U3")]),
        "big": X.astype(">f8"),
        "time": np.array(["2024-01-01"], "M8[D]"), "fortran": np.asfortranarray(X),
        "object": np.array([None, {"a": X}, "x"], dtype=object), "scalar": np.array(3.0),
    }  # fmt: skip
    for key, array in arrays.items():
        buffer = io.BytesIO()
        np.save(buffer, array, allow_pickle=True)
        yield "numpy", f"{key}.npy", buffer.getvalue()
    for key, save in (("plain", np.savez), ("packed", np.savez_compressed)):
        buffer = io.BytesIO()
        save(buffer, **arrays)
        yield "numpy", f"{key}.npz", buffer.getvalue()
    frame = pd.DataFrame({"count": Y, "city": ["a,b"] * 80, "ü": X[:, 0]})
    yield "tables", "a.csv", frame.to_csv().encode()
    yield "tables", "a.tsv", frame.to_csv(sep="\t").encode()
    yield "tables", "a.json", frame.to_json().encode()
    yield "tables", "a.jsonl", frame.to_json(orient="records", lines=True).encode()
    with contextlib.suppress(ImportError):
        yield "tables", "a.parquet", frame.to_parquet()
        buffer = io.BytesIO()
        frame.to_feather(buffer)
        yield "tables", "a.feather", buffer.getvalue()


def torch_files() -> Iterator[File]:
    """State dicts, checkpoints, modules, scripts and exports, in the zip and the legacy form."""
    import torch
    from torch import nn

    nets = {
        "linear": nn.Linear(3, 2),
        "mlp": nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2)),
        "conv": nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.MaxPool2d(2), nn.Flatten()),
        "lstm": nn.LSTM(2, 3), "gru": nn.GRU(2, 3, bidirectional=True),
        "attention": nn.TransformerEncoderLayer(4, 2, 8), "embedding": nn.EmbeddingBag(9, 2),
        "norms": nn.Sequential(nn.LayerNorm(4), nn.GroupNorm(2, 4), nn.Dropout(0.1), nn.GELU()),
        "half": nn.Linear(3, 2).half(), "bfloat": nn.Linear(3, 2).bfloat16(),
    }  # fmt: skip
    for key, net in nets.items():
        yield from _saved(key, net.state_dict())
        yield from _saved(f"{key}-module", net)
    for cls in (torch.optim.SGD, torch.optim.Adam, torch.optim.AdamW, torch.optim.RMSprop):
        net = nets["mlp"]
        optimiser = cls(net.parameters(), lr=0.1)
        checkpoint = {"model": net.state_dict(), "optim": optimiser.state_dict(), "epoch": 3,
                      "args": {"lr": 0.1}}  # fmt: skip
        yield from _saved(cls.__name__, checkpoint)
    others = [torch.ones(2), torch.eye(3).to_sparse(), torch.ones(2).bool(), torch.Size([1, 2]),
              torch.float16, torch.device("cpu")]  # fmt: skip
    yield from _saved("tensors", others)
    for key in ("linear", "mlp", "conv", "lstm"):
        buffer = io.BytesIO()
        torch.jit.save(torch.jit.script(nets[key]), buffer)
        yield "TorchScript", f"{key}.ts", buffer.getvalue()
    for key in ("linear", "mlp"):
        buffer = io.BytesIO()
        torch.export.save(torch.export.export(nets[key], (torch.ones(1, 3),)), buffer)
        yield "TorchScript", f"{key}.pt2", buffer.getvalue()


def _saved(key: str, value: object) -> Iterator[File]:
    import torch

    for suffix, modern in ((".pt", True), (".pth", False)):
        buffer = io.BytesIO()
        torch.save(value, buffer, _use_new_zipfile_serialization=modern)
        yield "torch", f"{key}{suffix}", buffer.getvalue()


def boosters() -> Iterator[File]:
    """LightGBM, XGBoost and CatBoost: pickled, by joblib, and in their own formats."""
    fitted: dict[str, object] = {}
    with contextlib.suppress(ImportError):
        import lightgbm

        fitted["lightgbm"] = lightgbm.LGBMClassifier(n_estimators=3, verbose=-1).fit(X, Y)
        fitted["lightgbm-rank"] = lightgbm.LGBMRegressor(n_estimators=3, verbose=-1).fit(X, X[:, 0])
        text = fitted["lightgbm"].booster_.model_to_string()  # type: ignore[attr-defined]
        yield "boosters", "lightgbm.txt", text.encode()
    with contextlib.suppress(ImportError):
        import xgboost

        fitted["xgboost"] = xgboost.XGBClassifier(n_estimators=3).fit(X, Y)
        fitted["xgboost-reg"] = xgboost.XGBRegressor(n_estimators=3).fit(X, X[:, 0])
        for form in ("json", "ubj"):
            raw = fitted["xgboost"].get_booster().save_raw(form)  # type: ignore[attr-defined]
            yield "boosters", f"xgboost.{form}", bytes(raw)
    with contextlib.suppress(ImportError):
        import catboost

        fitted["catboost"] = catboost.CatBoostClassifier(
            iterations=3, verbose=False, allow_writing_files=False
        ).fit(X, Y)
        with tempfile.TemporaryDirectory() as folder:
            place = Path(folder) / "m.json"
            fitted["catboost"].save_model(str(place), format="json")  # type: ignore[attr-defined]
            yield "boosters", "catboost.json", place.read_bytes()
            fitted["catboost"].save_model(str(place))  # type: ignore[attr-defined]
            yield "boosters", "catboost.cbm", place.read_bytes()
    for key, model in fitted.items():
        yield "boosters", f"{key}.pkl", pickle.dumps(model)
        yield "boosters", f"{key}.joblib", _joblib(model)


def archives_of_models() -> Iterator[File]:
    """Skops, ONNX and River."""
    made = models()
    with contextlib.suppress(ImportError):
        import skops.io

        for key in ("forest", "pipeline", "grid", "text"):
            yield "skops", f"{key}.skops", skops.io.dumps(made[key])
    with contextlib.suppress(ImportError):
        from river import anomaly, linear_model, naive_bayes, tree

        for cls in (linear_model.LogisticRegression, naive_bayes.GaussianNB,
                    tree.HoeffdingTreeClassifier, anomaly.HalfSpaceTrees):  # fmt: skip
            yield "river", f"{cls.__name__}.pkl", pickle.dumps(cls())
    with contextlib.suppress(ImportError):
        from onnx import TensorProto, helper, numpy_helper

        value = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 4])
        weight = numpy_helper.from_array(X[:4].astype("f4"), "w")
        for operator in ("MatMul", "Add", "Sub", "Mul"):
            node = helper.make_node(operator, ["x", "w"], ["y"])
            graph = helper.make_graph([node], "g", [value], [helper.make_tensor_value_info(
                "y", TensorProto.FLOAT, None)], [weight])  # fmt: skip
            yield "onnx", f"{operator}.onnx", helper.make_model(graph).SerializeToString()


def configurations() -> Iterator[File]:
    """What lies beside weights: cards, configurations, vocabularies, templates."""
    values = {
        "config.json": {"architectures": ["BertModel"], "model_type": "bert", "hidden_size": 8},
        "tokenizer_config.json": {"tokenizer_class": "BertTokenizer", "model_max_length": 512,
            "chat_template": "{% for m in messages %}{{ m.role }}: {{ m.content }}{% endfor %}"},
        "generation_config.json": {"eos_token_id": 2, "temperature": 0.7},
        "modules.json": [{"idx": 0, "name": "0", "path": "",
                          "type": "sentence_transformers.models.Transformer"}],
        "adapter_config.json": {"base_model_name_or_path": "a/b", "peft_type": "LORA", "r": 8},
        "model.safetensors.index.json": {"metadata": {"total_size": 1}, "weight_map": {"w": "a"}},
        "vocab.json": {"a": 0, "b": 1, "eval": 2, "os.system": 3, "__class__": 4},
    }  # fmt: skip
    for key, value in values.items():
        yield "configurations", key, json.dumps(value, indent=1).encode()
    texts = {
        "config.yaml": "seed: 1\nmodel:\n  name: mlp\n  layers: [1, 2]\n",
        "hydra.yaml": "net:\n  _target_: torch.nn.Linear\n  in_features: 3\n  out_features: 1\n",
        "environment.yaml": "name: x\ndependencies:\n- python=3.11\n- pip:\n  - numpy==1.26\n",
        "requirements.txt": "numpy==1.26\nscipy>=1.5\n",
        "vocab.txt": "[PAD]\n[UNK]\nimport\nexec\n",
        "merges.txt": "#version: 0.2\ni n\nt h\n", "LICENSE": "Permission is hereby granted\n",
        "README.md": "---\nlicense: mit\n---\n# Model\n\n```python\nimport os\nx = 1\n```\n",
        "chat.jinja": "{% for m in messages %}<|{{ m.role }}|>{{ m.content }}{% endfor %}",
        "labels.csv": "id,label\n0,cat\n1,dog\n", ".gitattributes": "*.bin filter=lfs\n",
        "pyproject.toml": '[project]\nname = "x"\n',
    }  # fmt: skip
    for key, text in texts.items():
        yield "configurations", key, text.encode()


MADE: tuple[Callable[[], Iterator[File]], ...] = (
    estimators, pickles, numbers, torch_files, boosters, archives_of_models, configurations,
)  # fmt: skip


def made() -> Iterator[File]:
    """What the installed libraries write; a library that is absent is left out and said so."""
    for build in MADE:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                yield from build()
            except ImportError as error:
                print(f"left out: {build.__name__}: {error}", file=sys.stderr)


def shipped(folder: Path, most: int = 3_000_000) -> Iterator[File]:
    """Files of installed packages, at most 12 of one package and kind, `most` bytes each."""
    counts: dict[tuple[str, str], int] = {}
    for place in sorted(folder.rglob("*")):
        package = place.relative_to(folder).parts[0]
        key = package, place.suffix
        fits = place.suffix in SHIPPED and ".dist-info" not in package
        if fits and counts.get(key, 0) < 12 and place.is_file() and place.stat().st_size < most:
            counts[key] = counts.get(key, 0) + 1
            name = "-".join(place.relative_to(folder).parts)
            yield "installed packages", name, place.read_bytes()


def main() -> None:
    folder = Path(sys.argv[1])
    for family, name, data in made():
        place = folder / family
        place.mkdir(parents=True, exist_ok=True)
        (place / name).write_bytes(data)


if __name__ == "__main__":
    main()
