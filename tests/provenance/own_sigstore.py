"""A Sigstore of our own: certificate authority, log of certificates, of signatures, log-in, web.

Everything is signed with fresh keys, in the published formats (RFC 5280, 6962, the Rekor API), so
that the library verifies it as it would the public one.
"""

from __future__ import annotations

import base64
import hashlib
import json
import struct
import threading
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from urllib.parse import parse_qsl, urlencode, urlsplit

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

NOW = datetime.now(UTC).replace(microsecond=0)
ALICE, PROVIDER = "alice@example.org", "https://login.example.org"
PAYLOAD = "application/vnd.in-toto+json"
SCTS = x509.ObjectIdentifier("1.3.6.1.4.1.11129.2.4.2")
ISSUER = x509.ObjectIdentifier("1.3.6.1.4.1.57264.1.1")
SHA256 = ec.ECDSA(hashes.SHA256())


def b64(content: bytes) -> str:
    return base64.b64encode(content).decode()


def canonical(value) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()


def public_bytes(key) -> bytes:
    return key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def new_key():
    return ec.generate_private_key(ec.SECP256R1())


def usage(*allowed):
    names = (
        "digital_signature content_commitment key_encipherment data_encipherment key_agreement "
        "key_cert_sign crl_sign encipher_only decipher_only"
    )
    return x509.KeyUsage(**{name: name in allowed for name in names.split()})


class OwnSigstore:
    """Keys of every service, and what they sign."""

    def __init__(self):
        self.authority, self.certificate_log, self.log = new_key(), new_key(), new_key()
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "our own")])
        public = self.authority.public_key()
        self.root = (
            x509.CertificateBuilder(name, name, public, x509.random_serial_number())
            .not_valid_before(NOW - timedelta(days=400))
            .not_valid_after(NOW + timedelta(days=400))
            .add_extension(x509.BasicConstraints(True, None), critical=True)
            .add_extension(usage("key_cert_sign"), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
            .sign(self.authority, hashes.SHA256())
        )

    def certificate(self, public, name=ALICE, provider=PROVIDER, start=None, authority=None):
        """A certificate of ten minutes, with the promise of the log of certificates in it."""
        start = start or NOW - timedelta(minutes=1)
        issuer = self.root.subject
        signing = authority or self.authority
        kind = x509.UniformResourceIdentifier if "://" in name else x509.RFC822Name
        plain = (
            x509.CertificateBuilder(issuer, x509.Name([]), public, x509.random_serial_number())
            .not_valid_before(start)
            .not_valid_after(start + timedelta(minutes=10))
            .add_extension(usage("digital_signature"), critical=True)
            .add_extension(
                x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CODE_SIGNING]), critical=False
            )
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(signing.public_key()),
                critical=False,
            )
            .add_extension(x509.SubjectAlternativeName([kind(name)]), critical=True)
            .add_extension(x509.UnrecognizedExtension(ISSUER, provider.encode()), critical=False)
        )
        without = plain.sign(signing, hashes.SHA256()).tbs_certificate_bytes
        sct = self._promise(without, start)
        return plain.add_extension(x509.UnrecognizedExtension(SCTS, sct), critical=False).sign(
            signing, hashes.SHA256()
        )

    def _promise(self, certificate: bytes, at: datetime) -> bytes:
        """RFC 6962, 3.2: a signed time stamp of a precertificate, as the extension holds it."""
        time = int(at.timestamp() * 1000)
        issuer = hashlib.sha256(public_bytes(self.authority)).digest()
        size = len(certificate).to_bytes(3, "big")
        head = struct.pack(">BBQH", 0, 0, time, 1)
        message = head + issuer + size + certificate + b"\0\0"
        signature = self.certificate_log.sign(message, SHA256)
        log = hashlib.sha256(public_bytes(self.certificate_log)).digest()
        sct = b"\0" + log + struct.pack(">QH", time, 0)
        sct += b"\x04\x03" + struct.pack(">H", len(signature)) + signature
        listed = struct.pack(">HH", len(sct) + 2, len(sct)) + sct
        return bytes([4, 0x81, len(listed)] if len(listed) > 127 else [4, len(listed)]) + listed

    def entry(self, body: dict, at: datetime | None = None) -> dict:
        """An entry of the log of signatures, as its API answers: promise, proof and checkpoint."""
        content = canonical(body)
        time = int((at or NOW).timestamp())
        log_id = hashlib.sha256(public_bytes(self.log)).digest()
        # the second of three leaves: its neighbour, then the third
        first, third = (hashlib.sha256(b"\0" + other).digest() for other in (b"a", b"c"))
        leaf = hashlib.sha256(b"\0" + content).digest()
        root = hashlib.sha256(b"\1" + hashlib.sha256(b"\1" + first + leaf).digest() + third)
        note = f"our own - 1\n3\n{b64(root.digest())}\n"
        signature = log_id[:4] + self.log.sign(note.encode(), SHA256)
        promised = {
            "body": b64(content),
            "integratedTime": time,
            "logID": log_id.hex(),
            "logIndex": 1,
        }
        return promised | {
            "verification": {
                "signedEntryTimestamp": b64(self.log.sign(canonical(promised), SHA256)),
                "inclusionProof": {
                    "checkpoint": f"{note}\n— our-own {b64(signature)}\n",
                    "hashes": [first.hex(), third.hex()],
                    "logIndex": 1,
                    "rootHash": root.hexdigest(),
                    "treeSize": 3,
                },
            }
        }  # fmt: skip

    def bundle(self, payload: bytes, *, logged=b"", at=None, kind=PAYLOAD, **claims) -> dict:
        """A signed payload, a statement by its kind; ``logged`` is what the log was shown."""
        key = new_key()
        certificate = self.certificate(key.public_key(), **claims)
        message = b"DSSEv1 %d %s %d %s" % (len(kind), kind.encode(), len(payload), payload)
        signature = key.sign(message, SHA256)
        pem = certificate.public_bytes(Encoding.PEM)
        body = dsse_body(logged or payload, payload, [(b64(signature), b64(pem))])
        entry = self.entry(body, at)
        proof = entry["verification"]["inclusionProof"]
        logged_entry = {
            "logIndex": "1",
            "logId": {"keyId": b64(bytes.fromhex(entry["logID"]))},
            "kindVersion": {"kind": "dsse", "version": "0.0.1"},
            "integratedTime": str(entry["integratedTime"]),
            "inclusionPromise": {
                "signedEntryTimestamp": entry["verification"]["signedEntryTimestamp"]
            },
            "inclusionProof": {
                "logIndex": "1",
                "rootHash": b64(bytes.fromhex(proof["rootHash"])),
                "treeSize": "3",
                "hashes": [b64(bytes.fromhex(h)) for h in proof["hashes"]],
                "checkpoint": {"envelope": proof["checkpoint"]},
            },
            "canonicalizedBody": entry["body"],
        }
        return {
            "mediaType": "application/vnd.dev.sigstore.bundle.v0.3+json",
            "verificationMaterial": {
                "certificate": {"rawBytes": b64(certificate.public_bytes(Encoding.DER))},
                "tlogEntries": [logged_entry],
            },
            "dsseEnvelope": {
                "payload": b64(payload),
                "payloadType": kind,
                "signatures": [{"sig": b64(signature)}],
            },
        }

    def roots(self) -> dict:
        """What whoever verifies must have."""
        valid = {"start": (NOW - timedelta(days=400)).isoformat().replace("+00:00", "Z")}

        def log(key):
            identifier = hashlib.sha256(public_bytes(key)).digest()
            details = {
                "rawBytes": b64(public_bytes(key)),
                "keyDetails": "PKIX_ECDSA_P256_SHA_256",
                "validFor": valid,
            }
            return {
                "baseUrl": "http://localhost",
                "hashAlgorithm": "SHA2_256",
                "publicKey": details,
                "logId": {"keyId": b64(identifier)},
            }

        root = b64(self.root.public_bytes(Encoding.DER))
        return {
            "mediaType": "application/vnd.dev.sigstore.trustedroot+json;version=0.1",
            "tlogs": [log(self.log)],
            "ctlogs": [log(self.certificate_log)],
            "certificateAuthorities": [
                {
                    "subject": {"organization": "our own", "commonName": "our own"},
                    "certChain": {"certificates": [{"rawBytes": root}]},
                    "validFor": valid,
                }
            ],
        }

    def services(self, url: str) -> dict:
        """What whoever signs must have."""
        valid = {"start": (NOW - timedelta(days=400)).isoformat().replace("+00:00", "Z")}
        service = {"url": url, "majorApiVersion": 1, "validFor": valid, "operator": "our own"}
        return {
            "mediaType": "application/vnd.dev.sigstore.clienttrustconfig.v0.1+json",
            "trustedRoot": self.roots(),
            "signingConfig": {
                "mediaType": "application/vnd.dev.sigstore.signingconfig.v0.2+json",
                "caUrls": [service],
                "oidcUrls": [service],
                "rekorTlogUrls": [service],
                "rekorTlogConfig": {"selector": "ANY"},
            },
        }

    @contextmanager
    def served(self):
        """Serve the APIs and a log-in on this machine; yields the address and what was asked."""
        own, asked, challenges = self, [], {}

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                content = self.rfile.read(int(self.headers["Content-Length"]))
                asked.append(self.path)
                if self.path == "/token":  # RFC 7636, 4.6
                    sent = dict(parse_qsl(content.decode()))
                    digest = hashlib.sha256(sent["code_verifier"].encode()).digest()
                    challenge = base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
                    same = challenges[sent["code"]] == challenge
                    return self.send({"access_token": token()} if same else None)
                return self.send(own.answer(self.path, self.headers, json.loads(content)))

            def do_GET(self):
                asked.append(self.path.partition("?")[0])
                sent = dict(parse_qsl(urlsplit(self.path).query))
                url = f"http://127.0.0.1:{self.server.server_port}"
                if self.path == "/.well-known/openid-configuration":
                    ends = {"authorization_endpoint": f"{url}/in", "token_endpoint": f"{url}/token"}
                    return self.send(ends)
                challenges["one"] = sent["code_challenge"]
                back = urlencode({"code": "one", "state": sent["state"]})
                self.send_response(302)
                self.send_header("Location", f"{sent['redirect_uri']}?{back}")
                return self.end_headers()

            def send(self, answer):
                content = json.dumps(answer).encode()
                self.send_response(201 if answer else 403)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *_):
                pass

        server = HTTPServer(("127.0.0.1", 0), Handler)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}", asked
        finally:
            server.shutdown()
            thread.join()
            server.server_close()

    def answer(self, path, headers, sent):
        """What the certificate authority, or the log, answers; None for a refusal."""
        if path == "/api/v2/signingCert":
            token = headers["Authorization"].removeprefix("Bearer ").split(".")[1]
            claims = json.loads(base64.urlsafe_b64decode(token + "=="))
            request = base64.b64decode(sent["certificateSigningRequest"])
            signing_request = x509.load_pem_x509_csr(request)
            assert signing_request.is_signature_valid
            name = claims["sub"]
            if name == "refused":
                return None
            # services go by the clock, which has moved on since the tests were collected
            start = datetime.now(UTC) - timedelta(minutes=1)
            leaf = self.certificate(signing_request.public_key(), name, claims["iss"], start)
            chain = [c.public_bytes(Encoding.PEM).decode() for c in (leaf, self.root)]
            return {"signedCertificateEmbeddedSct": {"chain": {"certificates": chain}}}
        assert path == "/api/v1/log/entries"
        return {"uuid": self.entry(self.body_of(sent), datetime.now(UTC))}

    @staticmethod
    def body_of(sent: dict) -> dict:
        """What the log keeps of a proposed entry, once its signature was checked."""
        if sent["kind"] == "hashedrekord":
            return {k: sent[k] for k in ("apiVersion", "kind", "spec")}
        proposed = sent["spec"]["proposedContent"]
        envelope = json.loads(proposed["envelope"])
        payload = base64.b64decode(envelope["payload"])
        signature = envelope["signatures"][0]["sig"]
        pem = base64.b64decode(proposed["verifiers"][0])
        message = b"DSSEv1 %d %s %d %s" % (len(PAYLOAD), PAYLOAD.encode(), len(payload), payload)
        public = x509.load_pem_x509_certificate(pem).public_key()
        public.verify(base64.b64decode(signature), message, SHA256)
        return dsse_body(
            payload, proposed["envelope"].encode(), [(signature, proposed["verifiers"][0])]
        )


def dsse_body(payload: bytes, envelope: bytes, signatures) -> dict:
    """The entry of a statement in the log."""

    def digest(content):
        return {"algorithm": "sha256", "value": hashlib.sha256(content).hexdigest()}

    return {
        "apiVersion": "0.0.1",
        "kind": "dsse",
        "spec": {
            "envelopeHash": digest(envelope),
            "payloadHash": digest(payload),
            "signatures": [{"signature": s, "verifier": v} for s, v in signatures],
        },
    }


def token(name=ALICE, provider=PROVIDER, minutes=5, audience="sigstore") -> str:
    """An identity token; only the certificate authority would check who signed it."""
    at = int(datetime.now(UTC).timestamp())
    claims = {"aud": audience, "sub": name, "iss": provider, "iat": at, "exp": at + 60 * minutes}
    parts = [{"alg": "none", "typ": "JWT"}, claims]
    encoded = [base64.urlsafe_b64encode(canonical(p)).rstrip(b"=").decode() for p in parts]
    return ".".join([*encoded, "c2ln"])
