"""What a ``.pt`` file may hold, looked at without building any of its objects.

``torch.load(weights_only=True)`` runs no code, but it allocates what a file asks for, and it
admits whatever the host process has declared safe. So the archive's table of contents and the
names in its object program are compared with short lists first.
"""

from __future__ import annotations

import pickletools
import re
import zipfile
from typing import IO, TYPE_CHECKING

from napari_sam_amg.errors import ModelError

if TYPE_CHECKING:
    from collections.abc import Iterator


MAX_MEMBERS = 20_000
MAX_PROGRAM_BYTES = 16 * 2**20

ADVICE = (
    "Where it was made, and only if you trust it there, write the weights alone: "
    'torch.save({"model": model.state_dict()}, "weights.pt"), or a .safetensors file'
)
_MEMBER = re.compile(
    r"[^/\\]+/(data\.pkl|data/\d+|version|byteorder"
    r"|\.format_version|\.storage_alignment|\.data/serialization_id)"
)
_TORCH_NAMES = (
    *("float64", "float32", "float16", "bfloat16", "int64", "int32", "int16", "int8", "uint8"),
    *("bool", "device", "Size"),
    *(
        f"{kind}Storage"
        for kind in (
            *("Double", "Float", "Half", "BFloat16", "Long", "Int", "Short", "Char", "Byte"),
            "Bool",
        )
    ),
)
_ALLOWED = frozenset(
    {
        "collections OrderedDict",
        "collections Counter",
        "builtins set",
        "__builtin__ set",
        "torch._utils _rebuild_tensor_v2",
        "torch._utils _rebuild_parameter",
        *(f"torch {name}" for name in _TORCH_NAMES),
    }
)


def check_archive(file: IO[bytes], name: str) -> None:
    """Refuse a zip archive that is not a plain table of tensors.

    Parameters
    ----------
    file : binary file
        Open for reading; its position is not kept.
    name : str
        What messages call the file.

    Raises
    ------
    ModelError
        If it is damaged, is no checkpoint of ``torch.save``, would unpack to more than its
        own size, or names Python objects besides tensors and plain containers.
    """
    size = file.seek(0, 2)
    file.seek(0)
    try:
        with zipfile.ZipFile(file) as archive:
            members = archive.infolist()
            _check_members(members, size, name)
            program = next(m for m in members if m.filename.endswith("/data.pkl"))
            content = archive.read(program)
    except (zipfile.BadZipFile, EOFError, OSError, ValueError, NotImplementedError, RuntimeError):
        # RuntimeError is what zipfile raises for encrypted members.
        raise ModelError(
            f"{name}: damaged: it starts like a checkpoint, but cannot be read to its end; it may "
            "be a download that was cut off; fetch or copy it again"
        ) from None
    for found in _names(content, name):
        if found not in _ALLOWED:
            raise ModelError(
                f"{name}: refused: it holds {found.replace(' ', '.')!r}, a Python object besides "
                f"tensors, as trainers save them; such a file can run code. {ADVICE}"
            )


def _check_members(members: list[zipfile.ZipInfo], size: int, name: str) -> None:
    names = [member.filename for member in members]
    if any("/code/" in n or n.endswith("/constants.pkl") for n in names):
        raise ModelError(
            f"{name}: refused: a TorchScript program, not a table of weights. {ADVICE}"
        )
    if len(names) > MAX_MEMBERS or len(set(names)) != len(names):
        raise ModelError(
            f"{name}: refused: {len(names)} entries, of which {len(set(names))} differ; a "
            f"checkpoint has at most {MAX_MEMBERS}, each once. {ADVICE}"
        )
    foreign = next((n for n in names if not _MEMBER.fullmatch(n) or n.startswith("..")), None)
    if foreign is not None:
        raise ModelError(
            f"{name}: refused: it holds {foreign[:80]!r}, which no checkpoint of torch.save does; "
            f"is it another kind of zip file? {ADVICE}"
        )
    packed = next((m for m in members if m.compress_type != zipfile.ZIP_STORED), None)
    if packed is not None or sum(member.file_size for member in members) > size:
        raise ModelError(
            f"{name}: refused: it would unpack to more than its own {size} bytes (a zip bomb, or "
            f"a checkpoint that was compressed afterwards). {ADVICE}"
        )
    programs = [member for member in members if member.filename.endswith("/data.pkl")]
    if len(programs) != 1 or len({n.split("/", 1)[0] for n in names}) != 1:
        raise ModelError(
            f"{name}: refused: {len(programs)} tables of tensors where a checkpoint has one. "
            f"{ADVICE}"
        )
    if programs[0].file_size > MAX_PROGRAM_BYTES:
        raise ModelError(
            f"{name}: refused: its table of contents has {programs[0].file_size} bytes, more than "
            f"the {MAX_PROGRAM_BYTES} of any checkpoint of weights. {ADVICE}"
        )


def _names(program: bytes, name: str) -> Iterator[str]:
    """Every class or function that an object program names, as ``module name``."""
    try:
        for opcode, argument, _ in pickletools.genops(program):
            if opcode.name == "GLOBAL":
                yield str(argument)
            elif opcode.name in {"STACK_GLOBAL", "INST", "EXT1", "EXT2", "EXT4"}:
                yield f"{opcode.name} {argument or ''}".strip()
    except (ValueError, IndexError, EOFError, UnicodeDecodeError):
        raise ModelError(
            f"{name}: damaged: its table of contents makes no sense; fetch or copy it again"
        ) from None
