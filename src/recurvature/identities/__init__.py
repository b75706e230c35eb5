"""Identities: what the lenses must agree on, each computed by two of them; and a check of any network."""

from recurvature.identities.agreement import STATUS as STATUS
from recurvature.identities.check import IdentityCheck as IdentityCheck
from recurvature.identities.check import check as check
from recurvature.identities.fisher import FisherMemory as FisherMemory
from recurvature.identities.fisher import fisher_memory as fisher_memory
from recurvature.identities.fisher import local_fisher_memory as local_fisher_memory
from recurvature.identities.geometries import TwoGeometries as TwoGeometries
from recurvature.identities.geometries import twin as twin
from recurvature.identities.geometries import two_geometries as two_geometries
from recurvature.identities.learning import LearnedGeometry as LearnedGeometry
from recurvature.identities.learning import learned_geometry as learned_geometry
from recurvature.identities.overlap_metric import OverlapMetric as OverlapMetric
from recurvature.identities.overlap_metric import overlap_metric as overlap_metric
from recurvature.identities.past import PastMetric as PastMetric
from recurvature.identities.past import past_inputs as past_inputs
from recurvature.identities.reduced import reduced as reduced
from recurvature.identities.spectra import SpectraAgreement as SpectraAgreement
from recurvature.identities.spectra import spectra as spectra
from recurvature.identities.split import MetricSplit as MetricSplit
from recurvature.identities.split import metric_split as metric_split
