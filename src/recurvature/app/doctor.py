"""What this installation has: versions, devices, number types, the compilation cache, and what is missing."""

import importlib.metadata
import importlib.util
import os
import platform
import shutil
import sys
from typing import Any

PACKAGES = (
    "recurvature",
    "jax",
    "jaxlib",
    "equinox",
    "diffrax",
    "optax",
    "numpy",
    "scipy",
    "xarray",
    "zarr",
    "safetensors",
    "matplotlib",
)
EXTRAS = {"torch": ("torch", "reads PyTorch files (.pt, .pth) and certifies imported networks")}
"""Optional extras: the module each needs, and what it is for."""


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that numbers depend on."""
    found = {name: importlib.metadata.version(name) for name in PACKAGES}
    return {"python": platform.python_version(), **found}


def extras() -> dict[str, str | None]:
    """The version of each optional extra, None where it is not installed."""
    present = {e: module for e, (module, _) in EXTRAS.items() if importlib.util.find_spec(module)}
    return {extra: importlib.metadata.version(present[extra]) if extra in present else None for extra in EXTRAS}


def device() -> str:
    """The device that computations run on."""
    import jax

    first = jax.devices()[0]
    return f"{first.platform}: {first.device_kind}" if first.device_kind != first.platform else first.platform


def examine() -> dict[str, Any]:
    """Everything `recurvature doctor` says, as one record."""
    import jax
    import jax.numpy as jnp

    import recurvature as rc

    default = str(jnp.zeros(()).dtype)
    rc.enable_float64()
    return {
        "versions": versions(),
        "platform": f"{platform.system()} {platform.release()} {platform.machine()}",
        "cores": cores(),
        "devices": [f"{d.platform}:{d.id} {d.device_kind}" for d in jax.devices()],
        "precision": {
            "default": default,
            "float64": str(jnp.zeros(()).dtype) == "float64",
            "rounding": _rounding(),
        },
        "cache": _cache(),
        "extras": extras(),
        "advice": _advice(),
    }


def cores() -> int:
    """Processor cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _rounding() -> dict[str, float]:
    """Relative error of a matrix product in each number type, by running one: reduced precision shows here."""
    import jax.numpy as jnp
    import numpy as np

    values = np.random.default_rng(0).standard_normal((64, 64)).astype(np.float32)
    exact = values.astype(np.longdouble) @ values.astype(np.longdouble)
    errors = {}
    for name in ("float32", "float64"):
        product = np.asarray(jnp.asarray(values, name) @ jnp.asarray(values, name))
        errors[name] = float(np.abs(product - exact).max() / np.abs(exact).max())
    return errors


def _cache() -> dict[str, Any]:
    from recurvature._errors import InputError
    from recurvature.app.cache import cache_folder, private_folder

    folder = cache_folder()
    try:
        private_folder(folder)
    except InputError as error:
        return {"folder": str(folder), "usable": False, "reason": str(error)}
    files = [f for f in folder.rglob("*") if f.is_file()]
    return {
        "folder": str(folder),
        "usable": True,
        "programs": len(files),
        "megabytes": round(sum(f.stat().st_size for f in files) / 2**20, 1),
        "free_megabytes": shutil.disk_usage(folder).free // 2**20,
    }


def _advice() -> list[str]:
    lines = [
        f"{extra} is not installed: it {EXTRAS[extra][1]}. Get it: pip install 'recurvature[{extra}]'"
        for extra, version in extras().items()
        if version is None
    ]
    if _accelerator_unused():
        lines.append("an NVIDIA GPU is here but JAX does not use it. Get it: pip install 'jax[cuda12]'")
    return lines


def _accelerator_unused() -> bool:
    import jax

    return sys.platform == "linux" and shutil.which("nvidia-smi") is not None and jax.default_backend() == "cpu"


def as_text(found: dict[str, Any]) -> str:
    """The record in lines that a person reads."""
    cache, precision = found["cache"], found["precision"]
    rounding = ", ".join(f"{name} {error:.0e}" for name, error in precision["rounding"].items())
    size = f"{cache['programs']} files, {cache['megabytes']} MB" if cache["usable"] else cache["reason"]
    lines = [
        ("versions", "  ".join(f"{k} {v}" for k, v in found["versions"].items())),
        ("platform", f"{found['platform']}, {found['cores']} cores"),
        ("devices", ", ".join(found["devices"])),
        ("precision", f"{precision['default']} by default, float64 on request; matrix products are good to {rounding}"),
        ("cache", f"{cache['folder']} ({size})"),
        *((f"extra {name}", version or "not installed") for name, version in found["extras"].items()),
        *(("advice", line) for line in found["advice"]),
    ]
    return "\n".join(f"{name:<12} {text}" for name, text in lines)
