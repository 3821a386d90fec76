"""XML: PMML, OpenVINO's networks, and whatever else; entities and scripts above all."""

from __future__ import annotations

import re
from xml.parsers import expat

from crenel.scan.context import Context
from crenel.scan.source import Unreadable, Window
from crenel.scan.verdict import Verdict

HEAD = re.compile(rb"\A(?:\xef\xbb\xbf)?\s*<(?:\?xml|!DOCTYPE|!--|[A-Za-z_][\w:.-]*[\s/>])")
XML_NAMES = re.compile(r"\.(?:xml|pmml|xsl|xslt|svg)$", re.IGNORECASE)
MAX_XML = 64 << 20
SCRIPTS = {"script", "javascript"}
HANDLER = re.compile(r"on[a-z]{4,20}", re.IGNORECASE)
INCLUDES = {"include", "import"}
CODE = re.compile(r"Runtime|ProcessBuilder|getRuntime|System\.|eval\(|exec\(|java\.|javax?:")


def is_xml(window: Window) -> bool:
    """Tell whether text begins as XML does."""
    return bool(HEAD.match(window.read(0, 512)))


class _Judge:
    """Takes the parser's events; nothing is ever expanded, fetched or kept."""

    def __init__(self, context: Context) -> None:
        self.context = context
        self.root = ""
        self.inside: list[str] = []
        # Stands for the parser, which takes its handlers as attributes.
        self.parser = expat.ParserCreate(namespace_separator=" ")
        self.parser.StartElementHandler = self.start
        self.parser.EndElementHandler = self.end
        self.parser.CharacterDataHandler = self.text
        self.parser.EntityDeclHandler = self.entity
        self.parser.StartDoctypeDeclHandler = self.doctype
        self.parser.ProcessingInstructionHandler = self.instruction

    def add(self, code: str, sentence: str, verdict: Verdict, call: str | None = None) -> None:
        self.context.add(code, sentence, verdict, self.parser.CurrentByteIndex, call)

    def entity(self, name: str, *rest: object) -> None:
        """Stop: a reader that expands entities fills its memory, or reads files for them."""
        self.add("entity", f"The XML declares the entity {name[:80]}.", Verdict.DANGEROUS)
        sentence = "XML with entities is not read on: they expand without end, or read other files."
        raise Unreadable(sentence, "entity", self.parser.CurrentByteIndex)

    def doctype(self, name: str, system: str | None, public: str | None, subset: int) -> None:
        if (system or public) and not (public or "").startswith("-//W3C//DTD "):
            where = (system or public or "")[:120]
            sentence = f"The XML makes its readers fetch a document type from {where}."
            self.add("doctype", sentence, Verdict.REVIEW, where)

    def instruction(self, target: str, data: str) -> None:
        if target == "xml-stylesheet":
            sentence = "The XML names a style sheet, which may run code where it is shown."
            self.add("stylesheet", sentence, Verdict.REVIEW, data[:200])

    def start(self, name: str, attributes: dict[str, str]) -> None:
        space, _, local = name.rpartition(" ")
        self.root = self.root or local
        self.inside.append(local)
        handler = next((key for key in attributes if HANDLER.fullmatch(key)), "")
        if handler and self.root in ("svg", "html"):
            sentence = f"The XML has the script {handler}, which runs where it is shown."
            self.add("script", sentence, Verdict.REVIEW, attributes[handler][:200])
        if local.lower() in SCRIPTS:
            verdict = Verdict.REVIEW if self.root == "html" else Verdict.DANGEROUS
            self.add("script", "The XML has a script, which some readers run.", verdict)
        elif local in INCLUDES and ("XInclude" in space or "Transform" in space):
            where = attributes.get("href", "")[:200]
            sentence = f"The XML includes {where or 'another file'}, which was not scanned."
            self.add("include", sentence, Verdict.DANGEROUS, where)
        elif self.root == "PMML" and local == "Apply" and "." in attributes.get("function", ""):
            function = attributes["function"][:200]
            sentence = f"The PMML calls {function}, a function of the program that evaluates it."
            verdict = Verdict.DANGEROUS if CODE.search(function) else Verdict.REVIEW
            self.add("pmml-function", sentence, verdict, function)
        elif self.root == "PMML" and local == "Extension":
            self.extension(" ".join(attributes.values()))
        elif self.root == "net" and local == "layer" and attributes.get("version") == "extension":
            kind = attributes.get("type", "")[:80]
            sentence = f"The layer {kind} comes from a further library that has to be loaded."
            self.add("custom-operator", sentence, Verdict.REVIEW, kind)

    def end(self, name: str) -> None:
        self.inside.pop()

    def text(self, data: str) -> None:
        if self.inside[-1:] == ["Extension"]:
            self.extension(data)

    def extension(self, text: str) -> None:
        if CODE.search(text):
            sentence = "An extension of the PMML holds code, which some readers run."
            self.add("pmml-extension", sentence, Verdict.DANGEROUS, text[:200])


def scan_xml(window: Window, context: Context) -> str:
    """Scan XML; what is not well formed is unreadable where its name says that it is XML."""
    if len(window) > MAX_XML:
        raise Unreadable("The XML is too long to read.", "over-budget")
    judge = _Judge(context)
    try:
        for chunk in window.chunks():
            judge.parser.Parse(chunk, False)
        judge.parser.Parse(b"", True)
    except expat.ExpatError as error:
        if XML_NAMES.search(context.name) or judge.root in ("PMML", "net"):
            raise Unreadable(f"The XML is not well formed: {error}.") from None
        return "text"
    return {"PMML": "pmml", "net": "openvino"}.get(judge.root, "xml")
