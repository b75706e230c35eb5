"""What importing does: nothing to JAX, nothing that was not asked for, and no need of optional packages."""

import json
import subprocess
import sys

import pytest

import recurvature as rc


def fresh(program: str) -> str:
    """What a new interpreter prints."""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def loaded_after(program: str) -> set[str]:
    """The top-level modules that a new interpreter has loaded after a program, which may end by `sys.exit`."""
    report = 'import sys, json, atexit; atexit.register(lambda: print("\\n" + json.dumps(sorted(sys.modules))))\n'
    return {name.split(".")[0] for name in json.loads(fresh(report + program).splitlines()[-1])}


def test_importing_loads_neither_jax_nor_anything_heavy() -> None:
    assert not loaded_after("import recurvature; dir(recurvature)") & {"jax", "numpy", "torch", "matplotlib", "xarray"}


@pytest.mark.parametrize("name", rc.__all__)
def test_every_public_name_is_there(name: str) -> None:
    assert getattr(rc, name) is not None
    assert name in dir(rc)


def test_rooms_are_loaded_when_they_are_used() -> None:
    program = """
import sys, recurvature as rc
before = "recurvature.systems" in sys.modules
rc.systems
print(before, "recurvature.systems" in sys.modules)
"""
    assert fresh(program).split() == ["False", "True"]


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'sistems'"):
        _ = rc.sistems


BLOCK = """
import sys

class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {blocked!r}:
            raise ImportError(name + " is not installed here")

sys.meta_path.insert(0, Blocked())
"""


def test_minimal_install_computes_without_torch_and_matplotlib() -> None:
    program = BLOCK.replace("{blocked!r}", "('torch', 'matplotlib')") + (
        "import recurvature.systems, recurvature.tasks, recurvature.training, recurvature.lenses, recurvature.io\n"
        "import recurvature.lenses.warping\n"
    )
    assert not loaded_after(program) & {"torch", "matplotlib"}


EVERYTHING = """
import json, jax
options = lambda: {name: repr(value) for name, value in jax.config.values.items()}
changed = lambda: [name for name, value in options().items() if value != before[name]]
before = options()
import recurvature as rc
for name in rc.__all__:
    getattr(rc, name)
import recurvature.app.cli
imported = changed()
rc.enable_float64()
print(json.dumps([len(before), sorted({"torch", "scipy.stats"} & sys.modules.keys()), imported, changed()]))
"""


def test_every_room_is_there_without_torch_and_changes_no_option_of_jax() -> None:
    count, slow, by_importing, by_asking = json.loads(fresh(BLOCK.replace("{blocked!r}", "('torch',)") + EVERYTHING))
    # a second to import, for a few functions that are called rarely
    assert slow == []
    # JAX has more than a hundred options; a handful would mean that this test no longer finds them
    assert count > 50
    assert by_importing == []
    assert "jax_enable_x64" in by_asking


def test_the_block_does_block() -> None:
    with pytest.raises(AssertionError, match="numpy is not installed here"):
        fresh(BLOCK.replace("{blocked!r}", "('numpy',)") + "import recurvature.systems")


def test_help_imports_no_jax() -> None:
    program = "import sys; sys.argv = ['recurvature', '--help']\nfrom recurvature.app.cli import main\nsys.exit(main())"
    loaded = loaded_after(program)
    assert "recurvature" in loaded
    assert not loaded & {"jax", "jaxlib", "equinox", "diffrax", "torch", "matplotlib", "numpy", "scipy", "xarray"}
