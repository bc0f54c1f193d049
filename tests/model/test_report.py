"""The report on a small model, as its JSON has it and as a real Chromium shows it."""

import functools
import html
import json
import math
import os
import re
import shutil
import sys
from xml.etree import ElementTree

import needs
import pytest
import tiny_dataset
from playwright import sync_api

from model import train
from model.report import __main__, charts, mistakes
from textrecords import model_folder, spec, text_source
from textrecords.errors import BadInput

pytestmark = pytest.mark.integration

QUICK = ["--max_tokens=10", "--max_len=6", "--embedding_dim=4", "--lstm_units=4", "--epochs=3"]
SCRIPT = "<script>document.title='run'</script>"
HOSTILE = (SCRIPT, "</style>", "</script>", "<img/src=x/onerror=alert(1)>", "{{7*7}}", "\x1b[31m")
LONG = "x" * 300
CLASSES = ("<b>$neg$</b>", f"_pos{LONG}")
HINTS = ("bad", "good")


def reviews(number):
    """Returns reviews of three to eight tokens, two of which are hostile."""
    return [
        (
            " ".join([HINTS[n % 2], SCRIPT, HOSTILE[n % len(HOSTILE)], *[LONG] * (n % 6)]),
            n % 2 if n % 8 else 1 - n % 2,
        )
        for n in range(number)
    ]


TEST = reviews(48)


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """A folder with records, a model, the texts of test, and the report on them."""
    root = tmp_path_factory.mktemp("report")
    splits = {"train": reviews(60), "validation": reviews(6), "test": TEST}
    tiny_dataset.write(root / "records", splits, classes=CLASSES)
    flags = ["--records", str(root / "records"), "--model_dir", str(root / "model")]
    train.main([*flags, *QUICK, "--dense_units=4", "--batch_size=8", "--learning_rate=0.05"])
    (root / "texts").mkdir()
    for position, (text, _) in enumerate(TEST):
        (root / "texts" / str(position)).write_text(text)
    __main__.main([*flags, "--input", str(root / "texts")])
    return root


@pytest.fixture(scope="module")
def written(root):
    return json.loads((root / "report.json").read_text())


def run(root, *flags):
    __main__.main(
        ["--records", str(root / "records"), "--model_dir", str(root / "model"), *map(str, flags)]
    )


def test_it_leaves_nothing_else_and_is_reproducible(root, tmp_path):
    assert sorted(os.listdir(root)) == ["model", "records", "report.html", "report.json", "texts"]
    run(root, "--input", root / "texts", "--output", tmp_path / "again.html")
    for suffix in ("html", "json"):
        again = (tmp_path / f"again.{suffix}").read_bytes()
        assert again == (root / f"report.{suffix}").read_bytes()
    assert len(again) < 100_000


def test_the_data_is_counted_as_the_network_reads_it(written):
    data = written["data"]
    assert [split["name"] for split in data["splits"]] == ["train", "validation", "test"]
    found = data["splits"][2]
    tokens = [text.split() for text, _ in TEST]
    known = tiny_dataset.ranked(text for text, _ in reviews(60))[: 10 - spec.NUM_RESERVED]
    assert (data["vocabulary"], data["max_tokens"], len(known)) == (11, 10, 8)
    assert found["examples"] == 48
    assert found["class_examples"] == [sum(label == n for _, label in TEST) for n in (0, 1)]
    assert found["tokens"] == sum(map(len, tokens)) == 48 * 5.5
    assert found["median_tokens"] == 5
    assert found["cut_reviews"] == 2 / 6
    assert found["read_tokens"] == (3 + 4 + 5 + 6 + 6 + 6) / (3 + 4 + 5 + 6 + 7 + 8)
    oov = sum(token not in known for row in tokens for token in row)
    assert oov == 8  # one of the six hostile words, in each of their reviews
    assert found["oov"] == oov / found["tokens"]
    assert found["oov_read"] == oov / (48 * 5)
    assert found["oov_vocabulary"] == 0
    assert data["coverage"]["by_all"] == 1


def test_the_result_is_what_train_measured(root, written):
    metrics = json.loads((root / "model" / "metrics.json").read_text())
    result = written["result"]
    assert result["loss"] == metrics["test"]["loss"]
    assert result["accuracy"] == metrics["test"]["accuracy"]
    assert result["confusion_matrix"] == metrics["test"]["confusion_matrix"]
    assert sum(each["number"] for each in result["lengths"]) == 48
    assert sum(each["number"] for each in result["calibration"]) == 48
    losses = [epoch["val_loss"] for epoch in written["training"]["epochs"]]
    assert losses == metrics["history"]["val_loss"]


def test_the_reviews_that_the_model_was_tested_on_have_not_drifted(written):
    assert written["drift"]["psi"] == {"words": 0, "lengths": 0, "scores": 0}
    assert written["drift"]["oov_share"] == written["drift"]["known_oov_share"] > 0


def test_mistakes_have_their_texts(written):
    assert written["mistakes"]
    for row in written["mistakes"]:
        text, label = TEST[int(row["key"])]
        assert row["is_text"]
        assert row["text"] == text.replace("\x1b", r"\x1b")[:600] + "…" * (len(text) > 600)
        assert (row["class"], row["predicted"]) == (CLASSES[label], CLASSES[1 - label])
    scores = [row["score"] for row in written["mistakes"]]
    assert scores == sorted(scores, reverse=True)


def test_words_are_listed_with_their_class(written):
    neg, pos = ([row["word"] for row in side["words"]] for side in written["influence"]["toward"])
    assert "bad" in neg
    assert "good" in pos
    assert not set(neg) & set(pos)


def test_a_text_that_is_not_the_one_learned_from_is_not_shown(root, written, tmp_path):
    texts = tmp_path / "texts"
    shutil.copytree(root / "texts", texts)
    changed, gone, *_ = (row["key"] for row in written["mistakes"])
    (texts / changed).write_text("another text")
    (texts / gone).unlink()
    run(root, "--input", texts, "--output", tmp_path / "x.html")
    first, second, third, *_ = json.loads((tmp_path / "x.json").read_text())["mistakes"]
    assert [first["is_text"], second["is_text"], third["is_text"]] == [False, False, True]
    assert first["text"].split() == [
        word.replace("\x1b", r"\x1b") for word in TEST[int(changed)][0].split()[:6]
    ]


def test_keys_stay_inside_the_folder(tmp_path):
    (tmp_path / "in" / "train").mkdir(parents=True)
    (tmp_path / "secret").write_text("secret")
    (tmp_path / "in" / "link").symlink_to(tmp_path)
    inside = functools.partial(mistakes.is_inside, text_source.Source(str(tmp_path / "in")))
    assert inside(b"train/a")
    secret = os.fsencode(tmp_path / "secret")
    for key in (b"../secret", b"train/../../secret", b"link/secret", secret, b"a\0", b""):
        assert not inside(key)
    remote = functools.partial(mistakes.is_inside, text_source.Source("gs://bucket/in"))
    assert remote(b"train/a")
    assert not (remote(b"train/../../secret") or remote(b"/secret"))


def test_other_classes_and_no_test_split(tmp_path, capsys):
    words = ("a", "b", "c")
    texts = [(f"{words[n % 3]} x", n % 3) for n in range(30)]
    tiny_dataset.write(
        tmp_path / "records", {"train": texts, "validation": texts[:20]}, classes=words
    )
    flags = ["--records", str(tmp_path / "records"), "--model_dir", str(tmp_path / "model")]
    train.main([*flags, *QUICK, "--dense_units=2"])
    shutil.rmtree(tmp_path / "model" / "logs")
    run(tmp_path)
    found = json.loads((tmp_path / "report.json").read_text())
    assert found["split"] == "validation"
    assert [curve["class"] for curve in found["result"]["curves"]] == ["a", "b", "c"]
    assert [curve["share"] for curve in found["result"]["curves"]] == [7 / 20, 7 / 20, 6 / 20]
    assert len(found["influence"]["toward"]) == 3
    assert found["training"]["median_seconds"] is None
    shown = (tmp_path / "report.html").read_text()
    assert "the logs are missing" in shown
    assert shown.count("<svg ") == 8


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--output", "{root}/model/x.html"], "another file would damage"),
        (["--output", "{root}/records/transform_fn/x.html"], "another file would damage"),
        (["--output", "{root}/x.txt"], "name a file that ends in .html"),
        (["--output", "{root}/none/x.html"], "there is no folder"),
        (["--input", "{root}/none"], "no input folder"),
    ],
)
def test_what_cannot_be_done_is_refused(root, flags, message):
    with pytest.raises(BadInput, match=message):
        run(root, *(flag.format(root=root) for flag in flags))


def test_a_dataset_with_nothing_to_evaluate_on_is_refused(tmp_path):
    tiny_dataset.write(tmp_path / "records", {"train": [("a b", 0), ("b", 1)]})
    train.main(
        ["--records", str(tmp_path / "records"), "--model_dir", str(tmp_path / "model"), *QUICK]
    )
    message = (
        r"to evaluate the model on: preprocess with --test, for example --test 0\.2, and train"
    )
    with pytest.raises(BadInput, match=message):
        run(tmp_path)


@pytest.fixture(scope="module")
def browser():
    chromium = shutil.which("chromium")
    if chromium is None:
        needs.skip_without("chromium", "apt-get install chromium")
    flags = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-sync"]
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=flags)
        yield browser
        browser.close()


@pytest.fixture(params=[(1280, "light"), (390, "dark")], ids=["desktop", "phone"])
def shown(root, browser, request):
    """Returns the page, and all that it complained of, asked for or opened."""
    width, scheme = request.param
    tab = browser.new_page(viewport={"width": width, "height": 800}, color_scheme=scheme)
    events = []
    tab.on("console", lambda message: events.append(message.text))
    tab.on("pageerror", lambda error: events.append(str(error)))
    tab.on("dialog", lambda dialog: events.append(dialog.message))
    tab.on("request", lambda request: events.append(request.url))
    tab.goto((root / "report.html").as_uri())
    yield tab, events
    tab.close()


def test_it_loads_and_complains_of_nothing(root, shown):
    _, events = shown
    assert events == [(root / "report.html").as_uri()]


def test_its_numbers_are_those_of_the_json(shown, written):
    tab, _ = shown
    assert json.loads(tab.text_content("#report")) == written
    numbers = tab.eval_on_selector_all(
        "data", "all => all.map(e => [e.dataset.at, e.dataset.format, e.value, e.textContent])"
    )
    assert len(numbers) > 100
    for at, format_spec, value, text in numbers:
        found = written
        for step in at.split("/")[1:]:
            found = found[int(step) if isinstance(found, list) else step]
        assert (json.loads(value), text) == (found, format(found, format_spec))
    assert {"/result/accuracy", "/result/curves/0/roc_auc", "/training/input_seconds"} <= {
        at for at, *_ in numbers
    }


def test_hostile_texts_stay_text(shown, written):
    tab, _ = shown
    count = tab.evaluate(
        "() => ['script', 'style', 'img', 'h3 b'].map(s => document.querySelectorAll(s).length)"
    )
    assert count == [1, 1, 0, 0]
    assert tab.title().endswith(": report")
    texts = tab.eval_on_selector_all(".text", "all => all.map(e => e.textContent)")
    assert texts == [row["text"] for row in written["mistakes"]]
    assert any(SCRIPT in text for text in texts)
    words = tab.eval_on_selector_all("#words th[scope=row]", "all => all.map(e => e.textContent)")
    assert words == [
        row["word"] for side in written["influence"]["toward"] for row in side["words"]
    ]
    sides = tab.eval_on_selector_all("#words h3", "all => all.map(e => e.textContent)")
    assert sides == [f"Toward {name}" for name in CLASSES]


def test_nothing_is_wider_than_the_screen(shown):
    tab, _ = shown
    wide = tab.evaluate(
        "() => [document.documentElement.scrollWidth <= innerWidth,"
        " ...[...document.querySelectorAll('main > *, .card, figure')].map("
        "e => e.getBoundingClientRect().right <= innerWidth)]"
    )
    assert wide == [True] * len(wide)


def test_charts_are_drawn_in_the_colors_of_the_page(shown):
    tab, _ = shown
    assert tab.eval_on_selector_all("svg[role=img]", "all => all.length") == 9
    strokes = tab.eval_on_selector_all(
        "#loss-axes_1 > [id^=loss-line2d] path", "all => all.map(e => getComputedStyle(e).stroke)"
    )
    expected = tab.evaluate(
        "() => { const e = document.createElement('i'); document.body.append(e);"
        " e.style.color = 'var(--series-0)'; return getComputedStyle(e).color; }"
    )
    assert expected in strokes
    ids = tab.eval_on_selector_all("[id]", "all => all.map(e => e.id)")
    assert len(ids) == len(set(ids))


NAMES = ("$x$", "_a", "#fff", "#012345", "#010101", "<b>", "\U0001f600", "url(#a)", 'id="a"', "^%&")


@pytest.mark.parametrize("name", NAMES)
def test_a_class_may_have_any_name(name):
    bins = [{"min": 0.0, "max": 0.1, "number": 3, "mean": 0.05, "observed": 0.5}]
    svg = charts.calibration(bins, f"score of {name}")
    page = ElementTree.fromstring(f"<html xmlns:xlink='x'>{svg}</html>")
    texts = [element.text for element in page.iter("text")]
    assert f"score of {name}" in texts
    assert "var(--series-0)" in svg
    assert not re.search(r"#01\d{4}", svg.replace(html.escape(name, quote=False), ""))


def marks(monkeypatch, draw):
    """Returns the positions of a chart's vertical lines."""
    found = []
    monkeypatch.setattr(charts, "_mark", lambda axes, x, label: found.append(x))
    draw()
    return found


@pytest.mark.parametrize(
    ("max_len", "place"),
    [(7, 0.5), (8, 0.5 + math.log2(9 / 8)), (15, 1.5), (11, 1.085), (99, None)],
)
def test_the_cut_is_before_the_first_length_that_is_cut(monkeypatch, max_len, place):
    bin_of = {"number": 1, "accuracy": 0.5, "low": 0.4, "high": 0.6}
    bins = [{"min": 2**n, "max": 2 ** (n + 1) - 1, **bin_of} for n in (2, 3, 4)]
    found = marks(monkeypatch, lambda: charts.accuracy_by_length(bins, max_len))
    assert found == ([] if place is None else [pytest.approx(place, abs=1e-3)])
    data = {"lengths": {"edges": [4, 8, 16], "shares": [[0.5, 0.5]]}, "max_len": max_len}
    assert marks(monkeypatch, lambda: charts.lengths(data)) == [max_len + 1]


@pytest.mark.parametrize("module", ["jinja2", "matplotlib"])
def test_without_its_extra_the_report_is_refused_before_any_work(monkeypatch, module):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(BadInput, match=r"the report needs \w+: `pip install 'textrecords\[report"):
        __main__.main(["--records=missing", "--model_dir=missing"])


@pytest.mark.parametrize(
    ("model_dir", "page"),
    [("out/x/model", "out/x/report.html"), ("gs://b/tuned", "gs://b/tuned-report.html")],
)
def test_pages_of_neighboring_models_have_different_names(model_dir, page):
    assert model_folder.sibling(model_dir, __main__.PAGE) == page
