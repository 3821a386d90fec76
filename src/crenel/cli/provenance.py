"""``crenel provenance``: a group of verbs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from crenel.cli.identity import (
    Name,
    Offline,
    Provider,
    Sigstore,
    Staging,
    Token,
    TrustConfig,
    TrustRoot,
)
from crenel.cli.options import Json

if TYPE_CHECKING:
    from crenel.provenance.outcome import Test
    from crenel.provenance.snapshots import Change
    from crenel.provenance.trust import Trust

provenance = typer.Typer(
    name="provenance",
    help="Record where training data comes from, sign it, verify it, see what changed.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

Manifest = Annotated[Path, typer.Argument(help="The manifest.")]
Keys = Annotated[
    list[Path] | None, typer.Option("--key", help="Public key that is trusted for any source.")
]
PolicyFile = Annotated[
    Path | None, typer.Option("--policy", help="Trust policy: TOML with [[source]] tables.")
]
Label = Annotated[str | None, typer.Option("--label", help="Column of the label.")]
RecordId = Annotated[
    list[str] | None, typer.Option("--record-id", help="Column that names the record; several do.")
]
SourceColumn = Annotated[
    str | None, typer.Option("--source-column", help="Column that says who supplied the row.")
]
Types = Annotated[
    list[str] | None,
    typer.Option("--type", help="Type of a column of a text file: when=timestamp, zip=text."),
]


@provenance.command()
def keygen(
    path: Annotated[Path, typer.Argument(help="File for the private key.")],
    kind: Annotated[
        str, typer.Option("--kind", help="ed25519; or p256, p384: EC keys, for models.")
    ] = "ed25519",
    as_json: Json = False,
) -> None:
    """Make a key: the private one, and the public one beside it (.pub)."""
    from crenel.cli.options import emit
    from crenel.provenance.keys import make_key

    public, keyid = make_key(path, kind)
    if as_json:
        emit({"private": str(path), "public": str(public), "keyid": keyid})
        return
    typer.echo(f"{path} written: keep it secret; hand out {public} (key {keyid[:16]})")


@provenance.command()
def record(
    paths: Annotated[
        list[Path], typer.Argument(help="Files of rows and folders, or a crenel.toml.")
    ],
    out: Annotated[Path, typer.Option("-o", "--out", help="Manifest to write.")] = Path(
        "manifest.json"
    ),
    key: Annotated[Path | None, typer.Option("--key", help="Private key to sign with.")] = None,
    source: Annotated[
        list[str] | None,
        typer.Option("--source", help="Who supplied the rows; one, or one a file."),
    ] = None,
    source_column: SourceColumn = None,
    label: Label = None,
    record_id: RecordId = None,
    column_type: Types = None,
    licence: Annotated[str, typer.Option("--licence", help="Terms, as an SPDX id.")] = "",
    collected: Annotated[str, typer.Option("--collected", help="When it was collected.")] = "",
    uri: Annotated[str, typer.Option("--uri", help="Where it came from.")] = "",
    transform: Annotated[
        str, typer.Option("--transform", help="What made the files: a command, or a script file.")
    ] = "",
    parent: Annotated[
        list[Path] | None, typer.Option("--parent", help="Manifest of what they were made from.")
    ] = None,
    described: Annotated[
        list[Path] | None,
        typer.Option("--import", help="Croissant, .dvc or MLflow description of the files."),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite a manifest.")] = False,
    as_json: Json = False,
) -> None:
    """Record files in a manifest: digests of files and rows, sources, terms; sign it."""
    from crenel.cli.options import emit
    from crenel.errors import UsageError
    from crenel.provenance.importing import import_file, licence_of, uri_of
    from crenel.provenance.keys import read_private
    from crenel.provenance.recording import Statement, rows_file
    from crenel.provenance.recording import record as make
    from crenel.provenance.rows import Roles

    if out.exists() and not force:
        raise UsageError(f"{out} exists; overwrite it with --force, or name another with --out")
    roles = Roles(label, source_column, tuple(record_id or ()))
    if [path.suffix for path in paths] == [".toml"]:
        from crenel.auditor.datafiles import data_files

        paths, known = data_files(paths[0])
        roles = Roles(label or known.label, source_column or known.source, roles.key or known.key)
    imported = [import_file(path, paths) for path in described or ()]
    script = Path(transform) if transform and Path(transform).is_file() else None
    statement = Statement(
        sources=tuple(source or ()),
        licence=licence or licence_of(imported),
        collected=collected,
        uri=uri or uri_of(imported),
        transform="" if script else transform,
        transform_file=script,
        parents=tuple(parent or ()),
    )
    private = None if key is None else read_private(key)
    recorded = make(
        paths,
        out,
        statement=statement,
        roles=roles,
        types=_types(column_type),
        imported=imported,
        private=private,
    )
    predicate = recorded.manifest.predicate
    if as_json:
        emit(recorded.manifest.model_dump(mode="json", by_alias=True))
        return
    for table in predicate.tables:
        typer.echo(f"{table.name}: {table.rows:,} rows, root {table.merkle_root[:16]}")
    beside = f" and {rows_file(out)}" if predicate.rows_file else ""
    for entry in predicate.imported:
        agreed = f"; it agrees on {', '.join(entry.agrees)}" if entry.agrees else ""
        typer.echo(f"{entry.file} ({entry.format}) taken over{agreed}")
        for note in entry.unproven:
            typer.echo(f"  {note}")
    signed = "signed" if private is not None else "not signed: name a key with --key"
    typer.echo(f"{out}{beside} written, {signed}")


@provenance.command()
def sign(
    manifest: Manifest,
    key: Annotated[Path | None, typer.Option("--key", help="Private key to sign with.")] = None,
    sigstore: Sigstore = False,
    identity_token: Token = None,
    staging: Staging = False,
    trust_config: TrustConfig = None,
) -> None:
    """Add a signature to a manifest; by identity (--sigstore), in a file beside it."""
    from crenel.cli.identity import key_alone, signer_of, told_by
    from crenel.provenance.keys import read_private
    from crenel.provenance.recording import sign as add
    from crenel.provenance.recording import sign_by_identity

    if key is None:
        signer = signer_of(sigstore, identity_token, staging, trust_config)
        beside, signed = sign_by_identity(manifest, signer)
        typer.echo(f"{beside} written: {told_by(signed)}")
        return
    key_alone(sigstore, identity_token, staging, trust_config)
    envelope = add(manifest, read_private(key))
    typer.echo(f"{manifest} carries {len(envelope.signatures)} signatures")


@provenance.command()
def show(manifest: Manifest) -> None:
    """Print the statement in a manifest, without checking anything."""
    from crenel.cli.options import emit
    from crenel.provenance.envelope import read_envelope

    emit(read_envelope(manifest)[1].model_dump(mode="json", by_alias=True))


@provenance.command()
def verify(
    manifest: Manifest,
    key: Keys = None,
    policy: PolicyFile = None,
    identity: Name = None,
    identity_provider: Provider = None,
    offline: Offline = False,
    trust_root: TrustRoot = None,
    staging: Staging = False,
    parent: Annotated[
        Path | None, typer.Option("--parent", help="Manifest that it must have been made from.")
    ] = None,
    quick: Annotated[
        bool, typer.Option("--quick", help="Trust a file's own digest; do not read its rows.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Verify a manifest: signature, files, rows, sources. Exit 0 pass, 1 fail, 2 incomplete."""
    from crenel.cli.identity import identity_of
    from crenel.provenance.verification import verify as tests_of

    keys, trust = _trusted(key, policy)
    who = identity_of(identity, identity_provider, staging, offline, trust_root)
    rows = not quick
    tests = tests_of(manifest, keys=keys, trust=trust, identity=who, parent=parent, rows=rows)
    finish(tests, as_json)


@provenance.command()
def diff(
    old: Annotated[Path, typer.Argument(help="The earlier manifest, or a file of rows.")],
    new: Annotated[Path, typer.Argument(help="The later one.")],
    label: Label = None,
    source_column: SourceColumn = None,
    record_id: RecordId = None,
    rows: Annotated[int, typer.Option("--rows", help="Row numbers to list of each kind.")] = 10,
    fields: Annotated[
        int,
        typer.Option("--fields", help="Edited rows to show field by field; needs both files."),
    ] = 0,
    audit: Annotated[
        Path | None,
        typer.Option("--audit-difference", help="crenel.toml: audit the changed rows alone."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Say which rows were added, removed, relabelled or edited, and whose they are."""
    from crenel.cli.options import emit
    from crenel.provenance.fields import edits
    from crenel.provenance.rows import Roles
    from crenel.provenance.snapshots import compare_snapshots

    given = label or source_column or record_id
    roles = Roles(label, source_column, tuple(record_id or ())) if given else None
    changes = compare_snapshots(old, new, roles)
    told = [edits(change, fields) if fields else ({}, []) for change in changes]
    if as_json and audit is None:
        shown = [{"columns": n, "fields": [e.to_json() for e in listed]} for n, listed in told]
        emit([c.to_json() | (more if fields else {}) for c, more in zip(changes, shown)])
        return
    if not as_json:
        for change, (counts, listed) in zip(changes, told):
            for line in change.lines(rows):
                typer.echo(line)
            if counts:
                typer.echo(f"  fields: {', '.join(f'{n:,} {name}' for name, n in counts.items())}")
            for edit in listed:
                typer.echo(f"    {edit.sentence()}")
    if audit is not None:
        _audit(changes, audit, as_json)


@provenance.command()
def gate(
    batch: Annotated[Path, typer.Argument(help="Manifest of the batch, or its file of rows.")],
    trusted: Annotated[
        Path, typer.Option("--trusted", help="Manifest of the snapshot that it would join.")
    ],
    key: Keys = None,
    policy: PolicyFile = None,
    source: Annotated[
        str, typer.Option("--source", help="Who supplied a file that has no column for it.")
    ] = "",
    contents: Annotated[
        bool, typer.Option("--contents", help="Look at the rows too: dense clusters, bursts.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Test incoming training data: trust, columns, repeats, contradictions, labels, shares."""
    from crenel.provenance.incoming import gate as tests_of

    keys, trust = _trusted(key, policy)
    tests = tests_of(batch, trusted, keys=keys, trust=trust, source=source, contents=contents)
    finish(tests, as_json)


@provenance.command(name="split-view")
def split_view(
    entries: Annotated[
        Path, typer.Argument(metavar="LIST", help="Table with url or path, or a folder.")
    ],
    folder: Annotated[
        Path | None, typer.Option("--folder", help="Where the list's paths are.")
    ] = None,
    fetch: Annotated[bool, typer.Option("--fetch", help="Fetch the URLs.")] = False,
    private_hosts: Annotated[
        bool, typer.Option("--private-hosts", help="Also from addresses that are not public.")
    ] = False,
    record: Annotated[
        Path | None, typer.Option("--record", help="Write the list as it is now, as Parquet.")
    ] = None,
    allow_reencoded: Annotated[
        bool, typer.Option("--allow-reencoded", help="Pass pictures that were stored anew.")
    ] = False,
    rows: Annotated[int, typer.Option("--rows", help="Lines to print.")] = 20,
    as_json: Json = False,
) -> None:
    """Check that a list still leads to the same files and pictures, or record what is there."""
    from collections import Counter

    from crenel.cli.options import emit
    from crenel.provenance import split_view as views_of

    lines = views_of.read_entries(entries)
    here = folder or (entries if entries.is_dir() else entries.parent)
    if record is not None:
        seen = views_of.record_views(lines, here, record, fetch=fetch, private=private_hosts)
        code = 2 if seen else 0
        counts = {"recorded": len(lines) - len(seen), "missing": len(seen)}
    else:
        seen = views_of.check_views(lines, here, fetch=fetch, private=private_hosts)
        code = views_of.exit_code_of(seen, allow_reencoded)
        found = Counter(v.verdict for v in seen)
        counts = {v: found[v] for v in views_of.VERDICTS if found[v]}
    told = [v for v in seen if v.verdict != "same"]
    if as_json:
        listed = [{"name": v.entry.name, "verdict": v.verdict, "why": v.sentence} for v in told]
        emit({"counts": counts, "not the same": listed})
    else:
        for view in told[:rows]:
            typer.echo(f"{view.verdict:<10} {view.entry.name}: {view.sentence}")
        typer.echo(", ".join(f"{n:,} {word}" for word, n in counts.items()) or "the list is empty")
    raise typer.Exit(code)


def _audit(changes: list[Change], config: Path, as_json: bool) -> None:
    """Audit the rows that changed, print what they do, and end with the exit code."""
    import tempfile

    from crenel.auditor.changes import audit_change
    from crenel.auditor.job import read_job
    from crenel.cli.options import emit
    from crenel.cli.progress import progress
    from crenel.errors import UsageError

    if len(changes) != 1:
        raise UsageError(f"{len(changes)} tables are compared; audit the difference of one")
    with tempfile.TemporaryDirectory() as folder, progress() as listener:
        audited = audit_change(read_job(config), changes[0], Path(folder), listener=listener)
    (outcome,) = audited.run.outcomes
    if as_json:
        findings = [f.model_dump(mode="json") for f in audited.findings]
        state = outcome.model_dump(mode="json")
        emit({"changes": changes[0].to_json(), "outcome": state, "findings": findings})
    else:
        for finding in audited.findings:
            typer.echo(f"{finding.severity.value:<9} {finding.sentence}")
        if not audited.findings:
            told = f"{outcome.outcome.value} {outcome.reason}".strip()
            typer.echo(f"{outcome.check} {told}: no harm of the changed rows was found")
    raise typer.Exit(audited.exit_code)


def _types(given: list[str] | None) -> dict[str, str]:
    from crenel.errors import UsageError

    pairs = [text.partition("=") for text in given or ()]
    for name, equals, kind in pairs:
        if not (name and equals and kind):
            raise UsageError(f"{name!r} names no type; write --type when=timestamp")
    return {name: kind for name, _, kind in pairs}


def _trusted(key: list[Path] | None, policy: Path | None) -> tuple[list[Any], Trust | None]:
    from crenel.provenance.keys import read_public
    from crenel.provenance.trust import read_trust

    return [read_public(k) for k in key or ()], None if policy is None else read_trust(policy)


def finish(tests: list[Test], as_json: bool) -> None:
    """Print tests and their verdict, and end with the exit code."""
    from crenel.cli.options import emit
    from crenel.provenance.outcome import exit_code, verdict

    if as_json:
        emit({"verdict": verdict(tests), "tests": [t.to_json() for t in tests]})
    else:
        words = {True: "pass", False: "fail", None: "not tested"}
        for test in tests:
            typer.echo(f"{words[test.passed]:<11} {test.sentence}")
        typer.echo(verdict(tests))
    raise typer.Exit(exit_code(tests))
