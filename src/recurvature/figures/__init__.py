"""Figures: each takes a result and gives axes of a figure made without pyplot (`axes.get_figure().savefig(path)`)."""

from recurvature.figures.learning import training as training
from recurvature.figures.story import overview as overview
from recurvature.figures.tasks import outputs as outputs
from recurvature.figures.tasks import psychometric as psychometric
from recurvature.figures.warping.checks import dimension_map as dimension_map
from recurvature.figures.warping.checks import step_size as step_size
from recurvature.figures.warping.comparisons import comparison as comparison
from recurvature.figures.warping.comparisons import difference_matrix as difference_matrix
from recurvature.figures.warping.curvature import curvature_maps as curvature_maps
from recurvature.figures.warping.curvature import smoothing as smoothing
from recurvature.figures.warping.curvature import total_curvature as total_curvature
from recurvature.figures.warping.curves import attribution_over_time as attribution_over_time
from recurvature.figures.warping.curves import metric_over_time as metric_over_time
from recurvature.figures.warping.curves import profile as profile
from recurvature.figures.warping.curves import ratio_over_time as ratio_over_time
from recurvature.figures.warping.geodesics import distance_matrices as distance_matrices
from recurvature.figures.warping.geodesics import geodesics as geodesics
from recurvature.figures.warping.maps import ellipses as ellipses
from recurvature.figures.warping.maps import metric_maps as metric_maps
from recurvature.figures.warping.shape import barcode as barcode
from recurvature.figures.warping.shape import persistence_diagram as persistence_diagram
from recurvature.figures.warping.sheets import warped_grid as warped_grid
from recurvature.figures.warping.surfaces import surfaces as surfaces
