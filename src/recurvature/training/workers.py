"""Seeds shared out to processes of one core and one thread each, and put together again after every block."""

import contextlib
import dataclasses
import multiprocessing
import multiprocessing.connection
import os
import pickle
import traceback
from collections.abc import Iterator
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from jaxtyping import PyTree

from recurvature._errors import InputError
from recurvature.training.run import Rows, Run, blocks

ENVIRONMENT = {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "NPROC": "1",
    "JAX_PLATFORMS": "cpu",
    "XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1",
}
"""One thread for every library: two processes of one thread do twice the work of one process of two."""

FLAGS = (
    "jax_enable_x64",
    "jax_compilation_cache_dir",
    "jax_persistent_cache_min_compile_time_secs",
    "jax_persistent_cache_min_entry_size_bytes",
)
"""Flags of JAX that a worker takes over."""

Part = tuple[PyTree[np.ndarray], Rows]
"""What a worker sends after a block: where its seeds are, and their rows."""


def blocks_in_workers(run: Run, workers: int) -> Iterator[Run]:
    """The run after each block, as `run.blocks`, with the seeds shared out to `workers` processes."""
    shares = np.array_split(np.arange(len(np.asarray(run.now.step))), workers)
    parts: list[Part] = [_part(_take(run, share)) for share in shares]
    with contextlib.ExitStack() as stack:
        pipes = {i: stack.enter_context(_worker(_pickled(_take(run, share)))) for i, share in enumerate(shares)}
        while pipes:
            for i, pipe in list(pipes.items()):
                part = _receive(pipe)
                if part is None:
                    del pipes[i]
                else:
                    parts[i] = part
            if pipes:
                yield _together(run, parts)


@contextlib.contextmanager
def _worker(job: bytes) -> Iterator[multiprocessing.connection.Connection]:
    """A process at work on `job`; it ends with the block, whatever happens."""
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    process = context.Process(target=work, args=(there, job), daemon=True)
    with _environment():
        process.start()
    there.close()
    try:
        yield here
    finally:
        here.close()
        process.terminate()
        process.join()


@contextlib.contextmanager
def _environment() -> Iterator[None]:
    """The environment of a worker, while it starts: libraries read it when they load."""
    before = dict(os.environ)
    flags = f"{before.get('XLA_FLAGS', '')} {ENVIRONMENT['XLA_FLAGS']}".strip()
    os.environ.update({**ENVIRONMENT, "XLA_FLAGS": flags})
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def work(pipe: multiprocessing.connection.Connection, job: bytes) -> None:
    """What a worker does: send its part after each block, then None; or the traceback of what went wrong."""
    try:
        flags, parts, keys = pickle.loads(job)
        for name, value in flags.items():
            jax.config.update(name, value)
        run = _on_device(Run(**{**parts, "key": jr.wrap_key_data(keys[0], impl=keys[1])}))
        for after in blocks(run):
            pipe.send(_part(after))
        pipe.send(None)
    except Exception:
        pipe.send(traceback.format_exc())


def _receive(pipe: multiprocessing.connection.Connection) -> Part | None:
    try:
        message: Any = pipe.recv()
    except EOFError:
        message = "it was killed, perhaps for want of memory."
    if isinstance(message, str):
        raise RuntimeError(f"a training worker stopped: {message}")
    return message


def _pickled(run: Run) -> bytes:
    """All that a worker needs: keys as numbers, arrays in host memory."""
    keys = np.asarray(jr.key_data(run.key)), str(jr.key_impl(run.key))
    # penalties may be functions, which are leaves too
    host = lambda leaf: np.asarray(leaf) if eqx.is_array(leaf) else leaf  # noqa: E731
    recipe, fixed, now = jax.tree.map(host, (run.recipe, run.fixed, run.now))
    flags = {name: getattr(jax.config, name) for name in FLAGS}
    parts = {**vars(run), "recipe": recipe, "fixed": fixed, "now": now, "key": None}
    try:
        return pickle.dumps((flags, parts, keys))
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        raise InputError(
            f"`workers` > 1 needs functions that other processes can import, and found one that they cannot: {error}. "
            "Define it at the top of a module, or pass workers=1."
        ) from error


def _on_device(run: Run) -> Run:
    device = lambda leaf: jnp.asarray(leaf) if eqx.is_array(leaf) else leaf  # noqa: E731
    recipe, fixed, now = jax.tree.map(device, (run.recipe, run.fixed, run.now))
    return dataclasses.replace(run, recipe=recipe, fixed=fixed, now=now)


def _take(run: Run, share: np.ndarray) -> Run:
    """The run of some of the seeds."""
    fixed, now, key, rows = jax.tree.map(lambda leaf: leaf[share], (run.fixed, run.now, run.key, run.rows))
    return dataclasses.replace(run, fixed=fixed, now=now, key=key, rows=rows)


def _part(run: Run) -> Part:
    return jax.tree.map(np.asarray, run.now), run.rows


def _together(run: Run, parts: list[Part]) -> Run:
    """The run of all seeds; where the seeds of one worker have all stopped, their rows are filled up with NaN."""
    now = jax.tree.map(lambda *leaves: jnp.asarray(np.concatenate(leaves)), *(part[0] for part in parts))
    length = max(part[1]["loss"].shape[1] for part in parts)
    rows = {name: np.concatenate([_filled_up(part[1][name], length) for part in parts]) for name in run.rows}
    return dataclasses.replace(run, now=now, rows=rows)


def _filled_up(rows: np.ndarray, length: int) -> np.ndarray:
    width = [(0, 0), (0, length - rows.shape[1])] + [(0, 0)] * (rows.ndim - 2)
    return np.pad(rows, width, constant_values=np.nan)
