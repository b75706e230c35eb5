"""Latent: which few variables carry a computation, and what perturbation and drift do to them (arXiv 2502.14337)."""

from recurvature.lenses.latent.extraction import EXTRACTION_STATUS as EXTRACTION_STATUS
from recurvature.lenses.latent.extraction import Extraction as Extraction
from recurvature.lenses.latent.extraction import extract as extract
from recurvature.lenses.latent.extraction import extracted_unit as extracted_unit
from recurvature.lenses.latent.extraction import reduced as reduced
from recurvature.lenses.latent.unit import LatentUnit as LatentUnit
from recurvature.lenses.latent.unit import from_encoding as from_encoding
from recurvature.lenses.latent.unit import from_mean_convention as from_mean_convention
from recurvature.lenses.latent.unit import split as split
from recurvature.lenses.latent.unit import unit as unit
