"""Lists of pictures whose files change: stored anew, altered, replaced, gone."""

import functools
import hashlib
import http.server
import io
import json
import threading

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from crenel.cli.entry import run
from crenel.provenance import fetching
from crenel.provenance.fetching import Refused, check_url, fetch_all
from crenel.provenance.perceptual import judge, signature


def picture(seed, side=96):
    """Smooth colours with an edge, unlike those of another seed."""
    rng = np.random.default_rng(seed)
    coarse = Image.fromarray(rng.integers(0, 256, (6, 6, 3), dtype=np.uint8))
    pixels = np.asarray(coarse.resize((side, side), Image.Resampling.BICUBIC)).copy()
    pixels[side // 3 :, : side // 4] //= 2
    return Image.fromarray(pixels)


def stored(image, kind="PNG", **settings):
    out = io.BytesIO()
    image.save(out, kind, **settings)
    return out.getvalue()


def patched(image, side=8):
    pixels = np.asarray(image).copy()
    pixels[-side - 4 : -4, -side - 4 : -4] = 255 - pixels[-side - 4 : -4, -side - 4 : -4] // 3
    return Image.fromarray(pixels)


def verdict(before, after):
    return judge(signature(before), signature(after))[0]


@pytest.mark.parametrize("seed", range(6))
def test_the_same_picture_in_another_file_is_told_from_others(seed):
    image = picture(seed)
    before = stored(image)
    small = image.resize((48, 48), Image.Resampling.BICUBIC)
    for anew in (
        stored(image, "JPEG", quality=90),
        stored(image, "JPEG", quality=50),
        stored(image, "WEBP", quality=80),
        stored(small, "JPEG", quality=85),
        stored(image.resize((200, 200)), "PNG"),
    ):
        assert anew != before
        assert verdict(before, anew) == "reencoded"
    assert verdict(before, stored(patched(image))) == "altered"
    assert verdict(before, stored(picture(seed + 100))) == "replaced"


def test_transparent_and_turned_pictures_are_seen_as_a_person_sees_them():
    image = picture(0)
    clear = image.convert("RGBA")
    clear.putalpha(255)
    assert verdict(stored(image), stored(clear)) == "reencoded"
    exif = Image.Exif()
    exif[0x0112] = 3  # shown upside down
    turned = stored(image.rotate(180), "JPEG", quality=95, exif=exif)
    assert verdict(stored(image), turned) == "reencoded"


def test_what_is_no_picture_has_no_signature():
    for content in (b"", b"nonsense", stored(picture(0))[:200], b"\x89PNG\r\n\x1a\n"):
        assert signature(content) is None


def test_the_hashes_are_those_of_the_usual_library():
    imagehash = pytest.importorskip("imagehash")
    for seed in range(5):
        image = picture(seed)
        made = signature(stored(image))
        assert f"{made.dhash:016x}" == str(imagehash.dhash(image))
        assert f"{made.phash:016x}" == str(imagehash.phash(image))


def test_hashes_mean_what_their_description_says():
    ramp = np.linspace(0, 255, 90).astype(np.uint8)
    rising = Image.fromarray(np.tile(ramp, (80, 1)))
    assert signature(stored(rising)).dhash == 2**64 - 1
    assert signature(stored(rising.transpose(Image.Transpose.FLIP_LEFT_RIGHT))).dhash == 0
    assert signature(stored(picture(3))).phash.bit_count() == 32  # half are above the median


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for i in range(6):
        path = tmp_path / "pictures" / f"{i}.png"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(stored(picture(i)))
    (tmp_path / "pictures" / "note.txt").write_text("text")
    assert run(["provenance", "split-view", "pictures", "--record", "list.parquet"]) == 0
    return tmp_path


def told(capsys, *arguments):
    capsys.readouterr()
    code = run(["provenance", "split-view", *arguments, "--json"])
    answer = json.loads(capsys.readouterr().out)
    return code, answer["counts"], {v["name"]: v["verdict"] for v in answer["not the same"]}


def test_each_way_of_changing_a_file_is_named(folder, capsys):
    here = folder / "pictures"
    check = ("list.parquet", "--folder", "pictures")
    assert told(capsys, *check) == (0, {"same": 7}, {})
    (here / "1.png").write_bytes(stored(picture(1), "JPEG", quality=80))
    code, _, found = told(capsys, *check)
    assert (code, found) == (1, {"1.png": "reencoded"})
    assert told(capsys, *check, "--allow-reencoded")[0] == 0
    (here / "2.png").write_bytes(stored(patched(picture(2))))
    (here / "3.png").write_bytes(stored(picture(50)))
    (here / "4.png").write_bytes(b"no picture")
    (here / "note.txt").write_text("other")
    (here / "5.png").unlink()
    code, _, found = told(capsys, *check, "--allow-reencoded")
    assert code == 1
    assert found == {
        "1.png": "reencoded", "2.png": "altered", "3.png": "replaced", "4.png": "changed",
        "note.txt": "changed", "5.png": "missing",
    }  # fmt: skip


def test_a_missing_file_alone_leaves_the_answer_open(folder, capsys):
    (folder / "pictures" / "5.png").unlink()
    code, counts, _ = told(capsys, "list.parquet", "--folder", "pictures")
    assert (code, counts) == (2, {"same": 6, "missing": 1})


def test_lists_made_elsewhere_have_digests_and_hashes_alone(folder, capsys):
    rows = [
        ("0.png", hashlib.sha256(stored(picture(0))).hexdigest(), None),
        ("1.png", "0" * 64, f"{signature(stored(picture(1))).phash:016x}"),
        ("2.png", "0" * 64, f"{signature(stored(picture(3))).phash:016x}"),
        ("3.png", "0" * 64, None),
        ("../list.parquet", "0" * 64, None),
    ]
    pd.DataFrame(rows, columns=["path", "sha256", "phash"]).to_csv("given.csv", index=False)
    _, _, found = told(capsys, "given.csv", "--folder", "pictures")
    assert found == {
        "1.png": "alike", "2.png": "replaced", "3.png": "changed", "../list.parquet": "missing",
    }  # fmt: skip


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *given):
        pass

    def do_GET(self):
        if self.path in ("/away", "/moved"):
            self.send_response(302)
            where = "file:///etc/passwd" if self.path == "/away" else "/0.png"
            self.send_header("Location", where)
            self.end_headers()
            return
        super().do_GET()


@pytest.fixture
def server(folder):
    handler = functools.partial(Quiet, directory=str(folder / "pictures"))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as served:
        threading.Thread(target=served.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{served.server_port}"
        served.shutdown()


def test_urls_are_fetched_where_that_is_asked_for_only(folder, server, capsys):
    urls = [f"{server}/{i}.png" for i in range(6)]
    pd.DataFrame({"url": urls}).to_csv("urls.csv", index=False)
    arguments = ["urls.csv", "--fetch", "--private-hosts"]
    assert run(["provenance", "split-view", *arguments, "--record", "seen.parquet"]) == 0
    arguments[0] = "seen.parquet"
    assert told(capsys, *arguments) == (0, {"same": 6}, {})
    (folder / "pictures" / "3.png").write_bytes(stored(picture(50)))
    (folder / "pictures" / "4.png").unlink()
    code, _, found = told(capsys, *arguments)
    assert (code, found) == (1, {urls[3]: "replaced", urls[4]: "missing"})
    code, counts, _ = told(capsys, "seen.parquet")
    assert (code, counts) == (2, {"missing": 6})


def test_addresses_that_are_not_public_are_refused(server):
    assert "not public" in fetch_all([f"{server}/0.png"])[0]
    for url in (
        "http://localhost/x",
        "http://169.254.169.254/",
        "http://[::1]/",
        "http://10.0.0.1/",
    ):
        with pytest.raises(Refused, match="not public"):
            check_url(url, private=False)
    for url in ("file:///etc/passwd", "ftp://example.org/x", "nonsense", "http://"):
        with pytest.raises(Refused, match="only http"):
            check_url(url, private=True)
    assert fetch_all([f"{server}/away"], private=True) == ["the server answers 302"]


def test_redirects_are_held_to_the_same_rule(server, monkeypatch):
    asked = []
    monkeypatch.setattr(fetching, "check_url", lambda url, private: asked.append(url))
    (content,) = fetch_all([f"{server}/moved"])
    assert signature(content) is not None
    assert asked == [f"{server}/moved", f"{server}/0.png"]


@pytest.mark.parametrize(
    ("arguments", "code", "sentence"),
    [
        (["nothing.csv"], 64, "there is no file"),
        (["bare.csv"], 64, "neither a column 'url' nor a column 'path'"),
        (["odd.csv"], 2, "is not hexadecimal"),
        (["pictures", "--record", "list.csv"], 64, "name it list.parquet"),
    ],
)
def test_wrong_lists_are_told_in_one_sentence(folder, capsys, arguments, code, sentence):
    (folder / "bare.csv").write_text("a,b\n1,2\n")
    (folder / "odd.csv").write_text("path,phash\n1.png,xyz\n")
    capsys.readouterr()
    assert run(["provenance", "split-view", *arguments]) == code
    err = capsys.readouterr().err
    assert sentence in err
    assert err.count("\n") == 1
