"""Warping: how a network stretches and folds its representation of task variables over time (arXiv 2512.04310)."""

from recurvature.lenses.warping.attribution import Attribution as Attribution
from recurvature.lenses.warping.attribution import attribution as attribution
from recurvature.lenses.warping.dimension import DimensionCheck as DimensionCheck
from recurvature.lenses.warping.dimension import ExtendedMetric as ExtendedMetric
from recurvature.lenses.warping.dimension import dimension_check as dimension_check
from recurvature.lenses.warping.dimension import extended_metric as extended_metric
from recurvature.lenses.warping.geodesics.distances import GeodesicDistances as GeodesicDistances
from recurvature.lenses.warping.geodesics.distances import geodesic_distances as geodesic_distances
from recurvature.lenses.warping.geodesics.status import GEODESIC_STATUS as GEODESIC_STATUS
from recurvature.lenses.warping.immersion import Immersion as Immersion
from recurvature.lenses.warping.immersion import immersion as immersion
from recurvature.lenses.warping.metric import Metric as Metric
from recurvature.lenses.warping.metric import metric as metric
from recurvature.lenses.warping.penalties import FieldConstraint as FieldConstraint
from recurvature.lenses.warping.penalties import RatioConstraint as RatioConstraint
from recurvature.lenses.warping.penalties import field_constraint as field_constraint
from recurvature.lenses.warping.penalties import ratio_constraint as ratio_constraint
from recurvature.lenses.warping.ratio import Profile as Profile
from recurvature.lenses.warping.ratio import Ratio as Ratio
from recurvature.lenses.warping.ratio import profile as profile
from recurvature.lenses.warping.ratio import ratio as ratio
from recurvature.lenses.warping.sheet import Sheet as Sheet
from recurvature.lenses.warping.sheet import sheet as sheet
from recurvature.lenses.warping.status import STATUS as STATUS
from recurvature.lenses.warping.step_size import StepSizeCheck as StepSizeCheck
from recurvature.lenses.warping.step_size import step_size_check as step_size_check
