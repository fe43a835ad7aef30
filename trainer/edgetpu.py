"""The Edge TPU's compiler: run where it is at hand, and what it printed made into facts; where it is not, a look with reasons."""

import os
import re
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path

from contract.errors import ContractError
from contract.release import EdgeTpu, EdgeTpuStatus
from trainer.flatfile import EDGE_TPU_OPERATOR, Graph, read_graph
from trainer.mappable import StaticReport, judge

COMPILER = "edgetpu_compiler"
TIMEOUT_S = 600.0  # the compiler's own timer is 180 s for each attempt
MAPPED = "Mapped to Edge TPU"
_UNITS = {"B": 1, "KiB": 1024, "MiB": 1024**2, "GiB": 1024**3}
_ROW = re.compile(r"^([\w-]+)\s+(\d+)\s+(\S.*?)\s*$")
_ATTEMPT = re.compile(r"^(?:Started a compilation timeout timer|Try to compile segment).*$", re.MULTILINE)
_TROUBLE = re.compile(
    r"^\s*(?:(?:ERROR|Compilation failed): *(?P<told>\S.*?)|(?P<line>Invalid model: .*|Model not quantized|Internal compiler error.*"
    r"|Model could not be parsed|Compilation failed!))\s*$",
    re.MULTILINE,
)


@dataclass(frozen=True, slots=True)
class Share:
    """So many operators of one kind that met the same fate, in the compiler's own words."""

    operator: str
    count: int
    status: str


@dataclass(frozen=True, slots=True)
class CompilerLog:
    """What the compiler printed about one model; sizes in bytes, None where it did not print them."""

    version: str  # 16.0.384591198, ...
    failure: str  # empty: it made a file
    on_edge_tpu: int
    on_cpu: int
    shares: tuple[Share, ...]  # empty without `-s`
    subgraphs: int | None
    on_chip_used: int | None
    on_chip_free: int | None
    off_chip: int | None  # streamed for every frame

    @property
    def left_on_cpu(self) -> str:
        """The operators that the CPU must run, each with the compiler's reason; empty where there is none."""
        told = [f"{one.operator} (x{one.count}): {one.status}" for one in self.shares if one.status != MAPPED]
        return "; ".join(told) or (f"{self.on_cpu} operators, not named" if self.on_cpu else "")


@dataclass(frozen=True, slots=True)
class Compilation:
    """A file that the compiler made, and what it said."""

    log: CompilerLog
    digest: str  # SHA-256 of the compiled file
    size: int  # its bytes


def compile_for_edge_tpu(
    model: Path, out: Path, *, allow_cpu_ops: bool = False, timeout_s: float = TIMEOUT_S
) -> Compilation:
    """Compile `model` with the `edgetpu_compiler` on PATH into `out`, which appears whole or not at all.

    Raises ContractError where the compiler is missing, fails, takes longer than `timeout_s`, or leaves operators on the CPU that
    `allow_cpu_ops` does not allow.
    """
    program = shutil.which(COMPILER)
    if program is None:
        raise ContractError(
            f"there is no {COMPILER} on PATH; it runs on x86-64 Linux, from Google's own package source"
        )
    with tempfile.TemporaryDirectory() as scratch:
        printed = _run([program, "-s", "-o", scratch, str(model.resolve())], timeout_s)
        made = Path(scratch) / f"{model.stem}_edgetpu.tflite"
        log, listed = parse_compiler_log(printed), made.with_suffix(".log")
        if not log.shares and listed.is_file():
            log = replace(log, shares=parse_compiler_log(listed.read_text(errors="replace")).shares)
        if log.failure or not made.is_file():
            raise ContractError(f"{COMPILER} made no file of {model}: {log.failure or 'it did not say why'}")
        if log.on_cpu and not allow_cpu_ops:
            whole = log.on_edge_tpu + log.on_cpu
            raise ContractError(
                f"{log.on_cpu} of {whole} operators of {model} would run on the CPU: {log.left_on_cpu}; --allow-cpu-ops lets it pass"
            )
        _require_compiled(model, made)
        content = made.read_bytes()
    half = out.with_name(f".{out.name}.half")
    try:
        half.write_bytes(content)
        half.replace(out)
    finally:
        half.unlink(missing_ok=True)
    return Compilation(log, sha256(content).hexdigest(), len(content))


def _run(command: Sequence[str], timeout_s: float) -> str:
    """What a program printed; raises ContractError where it fails, cannot start, or does not end."""
    try:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace",
            start_new_session=True,
        )  # fmt: skip
    except OSError as error:
        raise ContractError(f"{COMPILER} does not start: {error.strerror}") from error
    try:
        printed, _ = process.communicate(timeout=timeout_s)
    except subprocess.TimeoutExpired as error:
        raise ContractError(f"{COMPILER} did not end within {timeout_s:g} s") from error
    finally:
        if process.returncode is None:  # the compiler works in a child, which would outlive it
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
    if process.returncode:
        raise ContractError(f"{COMPILER} failed ({process.returncode}): {_trouble(printed) or printed.strip()[-400:]}")
    return printed


def _require_compiled(model: Path, made: Path) -> None:
    """Raise ContractError unless `made` is a compiled graph with the inputs and outputs of `model`."""
    before, after = read_graph(model), read_graph(made)
    if not after.compiled:
        raise ContractError(f"{COMPILER} says that it compiled {model}, but its file holds no {EDGE_TPU_OPERATOR}")
    if _edges(before) != _edges(after):
        raise ContractError(f"{COMPILER} changed the inputs or outputs of {model}")


def _edges(graph: Graph) -> tuple[list[tuple[object, ...]], ...]:
    return tuple(sorted((one.kind, one.shape) for one in edge) for edge in (graph.inputs, graph.outputs))


def parse_compiler_log(text: str) -> CompilerLog:
    """The facts in what `edgetpu_compiler` printed, or in its `_edgetpu.log`, about one model; versions 2 to 16.

    Raises ContractError for a text that is no such log, or whose numbers contradict each other.
    """
    version = re.search(r"^Edge TPU Compiler version (\S+)", text, re.MULTILINE)
    if version is None:
        raise ContractError(f"this is no log of the Edge TPU's compiler: {text.strip()[:200]!r}")
    last = text[[0, *(one.start() for one in _ATTEMPT.finditer(text))][-1] :]  # earlier attempts were given up
    shares = _table(last)
    on_cpu = _number(last, "Number of operations that will run on CPU")
    on_edge_tpu = _number(last, "Number of operations that will run on Edge TPU")
    whole = _number(last, "Total number of operations")
    if not re.search(r"^Model compiled successfully|^Output: \S", last, re.MULTILINE):
        return CompilerLog(version[1], _trouble(last) or "it did not say why", 0, 0, (), None, None, None, None)
    if shares:
        counted = (
            sum(one.count for one in shares if one.status == MAPPED),
            sum(one.count for one in shares if one.status != MAPPED),
        )
        for told, found in ((on_edge_tpu, counted[0]), (on_cpu, counted[1]), (whole, sum(counted))):
            if told is not None and told != found:
                raise ContractError(
                    f"the compiler's log contradicts itself: {told} operators told, {found} in its table"
                )
        on_edge_tpu, on_cpu = counted
    elif on_edge_tpu is None:  # without `-s` and with nothing left over it prints the sum alone
        on_edge_tpu = whole
    if on_edge_tpu is None:
        raise ContractError("the compiler's log does not say how many operators it mapped")
    used, available = (_bytes(last, f"On-chip memory {name}") for name in ("used", "available"))
    free = _bytes(last, "On-chip memory remaining")
    if free is None and available is not None and used is not None:  # before 2.1 it printed what there was in all
        free = available - used
    return CompilerLog(
        version[1], "", on_edge_tpu, on_cpu or 0, shares, _number(last, "Number of Edge TPU subgraphs"), used, free,
        _bytes(last, "Off-chip memory used"),
    )  # fmt: skip


def _table(text: str) -> tuple[Share, ...]:
    header = re.search(r"^Operator\s+Count\s+Status\s*$", text, re.MULTILINE)
    rows = []
    for line in text[header.end() :].splitlines() if header else ():
        row = _ROW.match(line)
        if row:
            rows.append(Share(row[1], int(row[2]), row[3]))
        elif line.strip():
            break
    return tuple(rows)


def _number(text: str, name: str) -> int | None:
    found = re.search(rf"^{name}: (\d+)", text, re.MULTILINE)
    return int(found[1]) if found else None


def _bytes(text: str, name: str) -> int | None:
    found = re.search(rf"^{name} for [\w ]+: ([\d.]+)([KMG]?i?B)", text, re.MULTILINE)
    return round(float(found[1]) * _UNITS[found[2]]) if found else None


def _trouble(text: str) -> str:
    told = [(one["told"] or one["line"]).rstrip(". ") for one in _TROUBLE.finditer(text)]
    return "; ".join(dict.fromkeys(one for one in told if one != "Compilation failed!")) or "; ".join(
        dict.fromkeys(told)
    )


def static_report(model: Path) -> StaticReport:
    """Whether the compiler is likely to map all of a file, without running it; raises ContractError for one that is compiled."""
    try:
        return judge(read_graph(model))
    except ContractError as error:
        raise ContractError(f"{model}: {error}" if str(model) not in str(error) else str(error)) from error


def edge_tpu(model: Path, compiled: Path, *, allow_cpu_ops: bool = False) -> EdgeTpu:
    """What the manifest says: compiled into `compiled` where the compiler is on PATH, else a look; raises like both."""
    if shutil.which(COMPILER) is None:
        compiled.unlink(missing_ok=True)  # of an earlier export: it belongs to another file
        report = static_report(model)
        return EdgeTpu(status=EdgeTpuStatus(report.verdict), reasons=(*report.reasons, *report.cautions))
    done = compile_for_edge_tpu(model, compiled, allow_cpu_ops=allow_cpu_ops)
    log = done.log
    return EdgeTpu(
        status=EdgeTpuStatus.COMPILED, reasons=(log.left_on_cpu,) if log.on_cpu else (), compiler=log.version,
        operators_on_edge_tpu=log.on_edge_tpu, operators_on_cpu=log.on_cpu, subgraphs=log.subgraphs,
        on_chip_bytes=log.on_chip_used, on_chip_free_bytes=log.on_chip_free, off_chip_bytes=log.off_chip,
        digest=done.digest, size=done.size,
    )  # fmt: skip
