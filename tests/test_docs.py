import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def test_the_pages_of_the_risks_say_what_the_checks_say():
    sys.path.insert(0, str(ROOT / "scripts"))
    try:
        from write_risk_pages import pages
    finally:
        sys.path.pop(0)
    for name, text in pages().items():
        written = (ROOT / "docs" / "risks" / name).read_text(encoding="utf-8")
        assert written == text, f"run: python scripts/write_risk_pages.py ({name})"


def test_links_of_the_documentation_lead_somewhere():
    for page in [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *ROOT.glob("docs/**/*.md")]:
        for link in re.findall(r"\]\(([^)#]+)\)", page.read_text(encoding="utf-8")):
            if not link.startswith("http"):
                assert (page.parent / link).exists(), f"{page.name} links to {link}"


def test_every_verb_of_the_command_is_documented():
    told = subprocess.run(
        [sys.executable, "-m", "crenel", "--help"], capture_output=True, text=True, check=True
    ).stdout
    verbs = re.findall(r"^  ([a-z]+)  ", told.partition("Commands:")[2], flags=re.M)
    assert len(verbs) >= 13
    for verb in verbs:
        page = ROOT / "docs" / "verbs" / f"{verb}.md"
        assert f"\ncrenel {verb}" in page.read_text(encoding="utf-8")
