"""Every function that a row of claims.toml names, and the settings of spec.toml."""

from .decision import boundary_is_stretched as boundary_is_stretched
from .decision import irrelevant_is_compressed as irrelevant_is_compressed
from .decision import ratio_starts_at_one as ratio_starts_at_one
from .decision import warping_precedes_fixed_points as warping_precedes_fixed_points
from .memory import geometry_settles_in_the_delay as geometry_settles_in_the_delay
from .memory import second_item_is_silent_at_first as second_item_is_silent_at_first
from .networks import Settings as Settings
from .theorems import forward_equals_adjoint as forward_equals_adjoint
from .theorems import functions_are_counted as functions_are_counted
from .theorems import metric_measures_distance as metric_measures_distance
from .theorems import states_fill_few_dimensions as states_fill_few_dimensions
