"""Measures: arrays in, numbers out. What can be said of a cloud of points or a table of distances, whatever made it."""

from recurvature.measures.crossed import MeanGeometry as MeanGeometry
from recurvature.measures.crossed import mean_geometry as mean_geometry
from recurvature.measures.decoders import DECODERS as DECODERS
from recurvature.measures.decoders import DECODING_STATUS as DECODING_STATUS
from recurvature.measures.decoders import Decoding as Decoding
from recurvature.measures.decoders import decode as decode
from recurvature.measures.decoders import fisher_information as fisher_information
from recurvature.measures.dimension import IntrinsicDimension as IntrinsicDimension
from recurvature.measures.dimension import LocalRank as LocalRank
from recurvature.measures.dimension import local_rank as local_rank
from recurvature.measures.dimension import participation_ratio as participation_ratio
from recurvature.measures.dimension import two_nn as two_nn
from recurvature.measures.dimension import variance_dimension as variance_dimension
from recurvature.measures.sphere import SphereSpectrum as SphereSpectrum
from recurvature.measures.sphere import sphere_spectrum as sphere_spectrum
from recurvature.measures.topology import PERSISTENCE_STATUS as PERSISTENCE_STATUS
from recurvature.measures.topology import Persistence as Persistence
from recurvature.measures.topology import bottleneck as bottleneck
from recurvature.measures.topology import farthest_points as farthest_points
from recurvature.measures.topology import persistence as persistence
from recurvature.measures.topology import shuffled_units as shuffled_units
from recurvature.measures.weighted_svd import WeightedSVD as WeightedSVD
from recurvature.measures.weighted_svd import weighted_svd as weighted_svd
