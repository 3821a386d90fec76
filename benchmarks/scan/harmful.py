"""Harmful files of every format and trick, each with what it would do; nothing here loads one.

Payloads are inert where they can be (``true``); the files are written by hand, byte by byte, so
that no library can soften them. Those that only matter beside other files are left out.
"""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import struct
import tarfile
import warnings
import zipfile
import zlib
from collections.abc import Callable, Iterator

from benchmarks.scan.harmful_corners import CORNERS
from benchmarks.scan.harmful_formats import FORMATS
from benchmarks.scan.sample import Sample
from tests.scan.corpus import HARMFUL, name, npy, proto, reduced, stack_name, system, text, zipped

# Not harmful by themselves: they resolve or decode something, and no more.
INERT = {"chain/codec", "chain/encode-other-codec", "chain/class-called", "route/persistent-callee",
         "route/binpersid-callee"}  # fmt: skip
GROUPS = {
    "route": ("pickle: opcodes", "reaches or calls os.system by this opcode"),
    "chain": ("pickle: chains", "reaches a callable that executes, reads or writes by this chain"),
    "broken": ("pickle: damaged", "os.system is called before the reader meets the damage"),
    "container": ("containers", "holds os.system in the part that a loader reads"),
}
SUFFIXES = {"torch": ".pt", "npy": ".npy", "npz": ".npz", "keras": ".keras", "hdf5": ".h5",
            "skops": ".skops", "zip": ".zip", "safetensors": ".safetensors", "gzip": ".pkl.gz",
            "bz2": ".pkl.bz2", "xz": ".pkl.xz", "lzma": ".pkl.lzma", "zlib": ".joblib",
            "path": ".zip"}  # fmt: skip

# What a call does, and the callables (module:attribute) that do it.
GADGETS = {
    "runs a command": """
        os:system os:popen os:execvp os:spawnl os:posix_spawn posix:execv nt:system
        subprocess:run subprocess:call subprocess:getoutput subprocess:check_output
        subprocess:getstatusoutput subprocess:check_call _posixsubprocess:fork_exec pty:spawn
        asyncio.subprocess:create_subprocess_shell multiprocessing.util:spawnv_passfds
        platform:popen distutils.spawn:spawn uuid:_get_command_stdout pydoc:pipepager
        ctypes.util:_findLib_gcc torch.utils.collect_env:run_and_read_all os:startfile
        setuptools._distutils.spawn:spawn numpy.f2py.compile:compile
        numpy.distutils.exec_command:exec_command mlflow.projects.backend.local:_run_entry_point
        pip:main pip._internal:main ensurepip:bootstrap
    """,
    "runs Python code": """
        numpy.testing._private.utils:runstring builtins:eval builtins:exec __builtin__:execfile
        code:interact timeit:main cProfile:run profile:run profile:Profile.run trace:Trace.run
        bdb:Bdb.run pdb:Pdb.run runpy:run_module runpy:_run_code doctest:debug_script
        test.support:run_in_subinterp idlelib.run:Executive.runcode sympy:sympify pandas:eval
        pandas.core.computation.eval:eval numexpr:evaluate
        torch._dynamo.guards:GuardBuilder.get IPython:embed
        torch.jit.unsupported_tensor_ops:execWrapper torch.fx.graph_module:reduce_graph_module
        cloudpickle.cloudpickle:_make_function dill._dill:_create_function logging.config:listen
        logging.config:dictConfig logging.config:fileConfig sys:settrace sys:setprofile
        atexit:register threading:Timer weakref:finalize builtins:breakpoint
        concurrent.futures:ThreadPoolExecutor.submit
    """,
    "loads a further pickle or model": """
        lib2to3.pgen2.grammar:Grammar.loads torch.utils._config_module:ConfigModule.load_config
        dill:loads cloudpickle:loads pickle:loads pickle:Unpickler marshal:load shelve:open
        joblib:load numpy:load torch:load torch.jit:load torch.package:PackageImporter
        pandas:read_pickle pandas.io.pickle:read_pickle numpy.lib.npyio:load skops.io:load
        tensorflow.keras.models:load_model keras.models:load_model
        xgboost.core:Booster.load_model torch.hub:load_state_dict_from_url nltk.data:load
    """,
    "reads files": """
        onnx:load builtins:open io:open io:FileIO codecs:open pathlib:Path.read_bytes
        numpy:fromfile numpy:loadtxt numpy:memmap linecache:getlines pandas:read_csv
        tarfile:open
    """,
    "imports a module by name": """
        importlib:import_module importlib:__import__ importlib.util:spec_from_file_location
        pkgutil:resolve_name pydoc:locate zipimport:zipimporter site:addsitedir imp:load_source
        builtins:__import__ unittest.mock:_importer unittest.mock:_dot_lookup
    """,
    "loads a native library": """
        ctypes:CDLL ctypes:PyDLL _ctypes:dlopen cffi:FFI.dlopen numpy.ctypeslib:load_library
        torch.ops:load_library torch.utils.cpp_extension:load
    """,
    "writes or deletes files": """
        tempfile:mkdtemp os:remove os:rename os:chmod os:putenv shutil:rmtree shutil:move
        pathlib:Path.unlink pathlib:Path.write_text numpy:save numpy:savetxt torch:save
        zipfile:ZipFile.extractall sqlite3:connect urllib.request:urlretrieve
        torch.hub:download_url_to_file venv:create py_compile:compile
    """,
    "opens a network connection": """
        socket:socket socket:create_connection urllib.request:urlopen http.client:HTTPConnection
        ftplib:FTP smtplib:SMTP requests:get requests.api:post aiohttp:ClientSession
        telnetlib:Telnet xmlrpc.client:ServerProxy webbrowser:open ssl:get_server_certificate
    """,
    "kills the process": """
        signal:alarm
    """,
    "ends the process": """
        sys:exit
    """,
    "calls any method": """
        operator:methodcaller
    """,
    "calls what it is given": """
        functools:reduce itertools:starmap
    """,
    "replaces attributes of modules": """
        builtins:setattr
    """,
}


def known() -> Iterator[Sample]:
    """The hand-written corpus of the tests."""
    for key, data in HARMFUL.items():
        group, _, rest = key.partition("/")
        if key not in INERT and group in GROUPS:
            family, why = GROUPS[group]
            suffix = SUFFIXES.get(rest.split("-")[0], ".pkl") if group == "container" else ".pkl"
            yield Sample(family, f"{key.replace('/', '-')}{suffix}", data, f"{why} ({rest})")


def gadgets() -> Iterator[Sample]:
    """One call of each callable, under the protocols in turn.

    The argument is inert and often of the wrong kind; it is the callable that a scanner must know.
    """
    calls = [(call, what) for what, names in GADGETS.items() for call in names.split()]
    for index, (call, what) in enumerate(calls):
        module, _, attribute = call.partition(":")
        version = (2, 4, 0)[index % 3] if "." not in attribute else 4
        callee = stack_name(module, attribute) if version == 4 else name(module, attribute)
        head = proto(version) if version else b""
        data = head + reduced(callee, text("true")) + b"."
        yield Sample("pickle: gadgets", f"{module}.{attribute}.pkl", data, f"{what} when loaded")


def lz4(data: bytes) -> bytes:
    """A frame with one stored block; its header checksum is that of these two fixed bytes."""
    return (
        b"\x04\x22\x4d\x18\x60\x40\x82" + struct.pack("<I", len(data) | 1 << 31) + data + bytes(4)
    )


def packed() -> Iterator[Sample]:
    """Files of joblib in each compressor, and compressors within compressors."""
    wrap: dict[str, Callable[[bytes], bytes]] = {
        "zlib0": lambda b: zlib.compress(b, 0), "zlib1": lambda b: zlib.compress(b, 1),
        "zlib9": lambda b: zlib.compress(b, 9), "gzip": gzip.compress, "bz2": bz2.compress,
        "xz": lzma.compress, "lzma": lambda b: lzma.compress(b, lzma.FORMAT_ALONE), "lz4": lz4,
    }  # fmt: skip
    why = "os.system runs when joblib loads it"
    for key, pack in wrap.items():
        yield Sample("joblib: compressors", f"{key}.joblib", pack(system(4)), why)
    for key in ("gzip", "bz2", "xz"):
        inner = wrap[key](wrap["zlib9"](system()))
        yield Sample("joblib: compressors", f"{key}-in.joblib.{key}", inner, why)
    array = npy(bytes(8), "'<f8'")
    yield Sample("joblib: compressors", "cut.joblib", zlib.compress(system(4) * 50)[:-6], why)
    yield Sample("numpy", "second.npy", npy(system(4)), "os.system runs under allow_pickle")
    versions = {2: struct.pack("<I", 118), 3: struct.pack("<I", 118)}
    for version, length in versions.items():
        header = b"{'descr': '|O', 'fortran_order': False, 'shape': (1,), }".ljust(117) + b"\n"
        data = b"\x93NUMPY" + bytes([version, 0]) + length + header + system(4)
        yield Sample("numpy", f"v{version}.npy", data, "os.system runs under allow_pickle")
    for key, members in {
        "object": [("x.npy", array), ("y.npy", npy(system()))],
        "pickle": [("x.npy", array), ("y.pkl", system())],
        "no-suffix": [("x", npy(system()))],
        "deflated": [("x.npy", npy(system()))],
        "record": [("x.npy", npy(system(), "[('a', '<f8'), ('b', '|O')]"))],
    }.items():
        data = zipped(members, key == "deflated")
        yield Sample("numpy", f"{key}.npz", data, "os.system runs when that array is taken")


def tar(members: list[tuple[str, bytes]], mode: str = "w") -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=mode) as archive:  # type: ignore[call-overload]
        for path, data in members:
            info = tarfile.TarInfo(path)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


MAGIC = proto(2) + b"\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19."
VERSION, SIZES, PLAIN = proto(2) + b"M\xe9\x03.", proto(2) + b"}.", proto(2) + b"}."
EVIL = system()


def torch_files() -> Iterator[Sample]:
    """Zip, legacy and tar forms, with members doubled, hidden, renamed and mis-described."""
    why = "os.system runs in torch.load"
    names = [("m/data.pkl", EVIL), ("m/version", b"3\n")]
    forms = {
        "legacy-first": EVIL + MAGIC + VERSION + SIZES + PLAIN + proto(2) + b"].",
        "legacy-version": MAGIC + EVIL + SIZES + PLAIN + proto(2) + b"].",
        "legacy-sizes": MAGIC + VERSION + EVIL + PLAIN + proto(2) + b"].",
        "legacy-object": MAGIC + VERSION + SIZES + EVIL + proto(2) + b"].",
        "legacy-keys": MAGIC + VERSION + SIZES + PLAIN + EVIL,
        "tar-pickle": tar([("sys_info", PLAIN), ("pickle", EVIL), ("storages", b""),
                           ("tensors", b"")]),
        "tar-storages": tar([("sys_info", PLAIN), ("pickle", PLAIN), ("storages", EVIL)]),
        "tar-gz": tar([("pickle", EVIL)], "w:gz"), "tar-bz2": tar([("pickle", EVIL)], "w:bz2"),
        "tar-xz": tar([("pickle", EVIL)], "w:xz"),
        "flat": zipped([("data.pkl", EVIL)]), "deep": zipped([("a/b/c/data.pkl", EVIL)]),
        "upper": zipped([("m/DATA.PKL", EVIL)]), "constants": zipped([("m/data.pkl", PLAIN),
                                                                      ("m/constants.pkl", EVIL)]),
        "attributes": zipped([*names, ("m/attributes.pkl", EVIL)]),
        "packed-beside": zipped([("m/data.pkl", PLAIN), ("m/x.pkl.gz", gzip.compress(EVIL))]),
        "tail": zipped([("m/data.pkl", PLAIN)]) + EVIL, "two-archives": zipped(names) + zipped(
            [("m/data.pkl", PLAIN)]),
        "comment": commented(zipped([("m/data.pkl", EVIL)]), b"a comment " * 9),
        "cut-directory": zipped(names)[:-30], "cut-in-data": zipped(names)[:60],
    }  # fmt: skip
    for key, data in forms.items():
        yield Sample("torch", f"{key}.pt", data, why)
    for key, at, value in (
        ("crc-zero", (14, 16), 0), ("size-zero", (18, 20), 0), ("size-more", (22, 24), 1 << 30),
        ("method-deflate", (8, 10), 8), ("method-unknown", (8, 10), 99), ("encrypted", (6, 8), 1),
        ("descriptor", (6, 8), 8), ("name-length", (26, 28), 2),
    ):  # fmt: skip
        yield Sample("torch: headers", f"local-{key}.pt", patched(zipped(names), at[0], value), why)
        listed = zipped(names).find(b"PK\x01\x02") + at[1]
        yield Sample("torch: headers", f"listed-{key}.pt", patched(zipped(names), listed, value),
                     why)  # fmt: skip
    for first, second in ((EVIL, PLAIN), (PLAIN, EVIL)):
        key = "first" if first == EVIL else "last"
        yield Sample("torch: headers", f"double-{key}.pt", doubled(first, second), why)


def commented(data: bytes, comment: bytes) -> bytes:
    return data[:-2] + struct.pack("<H", len(comment)) + comment


def patched(data: bytes, at: int, value: int) -> bytes:
    size = 4 if value > 0xFFFF else 2
    return data[:at] + value.to_bytes(size, "little") + data[at + size :]


def doubled(first: bytes, second: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # zipfile warns of the double that is wanted here
        archive.writestr("m/data.pkl", first)
        archive.writestr("m/data.pkl", second)
    return buffer.getvalue()


def nested() -> Iterator[Sample]:
    """Pickles within pickles, and archives within archives."""
    why = "the inner pickle is loaded while the outer one is"
    inner = b"B" + struct.pack("<I", len(EVIL)) + EVIL
    for module, attribute in (
        ("pickle", "loads"), ("_pickle", "loads"), ("cPickle", "loads"), ("dill", "loads"),
        ("torch.storage", "_load_from_bytes"), ("cloudpickle", "loads"), ("joblib", "load"),
        ("_pickle", "Unpickler"), ("marshal", "loads"),
    ):  # fmt: skip
        data = proto(3) + reduced(name(module, attribute), inner) + b"."
        yield Sample("nested", f"{module}.{attribute}.pkl", data, why)
    member = zipped([("m/data.pkl", EVIL)])
    for key, data in {
        "zip-zip-zip.zip": zipped([("a.zip", zipped([("b.zip", member)]))]),
        "tar-in-zip.zip": zipped([("a.tar", tar([("x.pkl", EVIL)]))]),
        "zip-in-tar.tar": tar([("a/model.pt", member)]),
        "gz-in-tar.tar": tar([("a.pkl.gz", gzip.compress(EVIL))]),
        "gz-in-gz.gz": gzip.compress(gzip.compress(EVIL)),
        "tgz-in-zip.zip": zipped([("a.tgz", tar([("x.pkl", EVIL)], "w:gz"))], packed=True),
        "image-name.zip": zipped([("picture.png", EVIL)]),
        "text-name.zip": zipped([("readme.txt", EVIL)]),
        "no-name.zip": zipped([("x", EVIL)]),
    }.items():
        yield Sample("nested", key, data, "holds a pickle that calls os.system")
    for suffix in (".bin", ".pth", ".ckpt", ".txt", ".csv", ".json", ".png", ".onnx", ".npy",
                   ".safetensors", ".h5", ""):  # fmt: skip
        yield Sample("wrong extension", f"model{suffix}", system(4), "os.system runs when loaded")


def harmful() -> list[Sample]:
    """Every harmful sample; names are unique within a family."""
    parts = (known, gadgets, packed, torch_files, nested, *FORMATS, *CORNERS)
    return [sample for part in parts for sample in part()]
