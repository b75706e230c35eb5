"""Every function that a row of claims.toml names, and the settings of spec.toml."""

from .settings import Settings as Settings
from .theorems import variables_close as variables_close
