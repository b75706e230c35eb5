"""What a system settles into: fixed and slow points, their stability, flow fields, Lyapunov exponents."""

from recurvature.dynamics.certificate import CERTIFICATES as CERTIFICATES
from recurvature.dynamics.continuation import Continuation as Continuation
from recurvature.dynamics.continuation import continuation as continuation
from recurvature.dynamics.finder import find_fixed_points as find_fixed_points
from recurvature.dynamics.fixed_points import STATUS as STATUS
from recurvature.dynamics.fixed_points import FixedPoints as FixedPoints
from recurvature.dynamics.fixed_points import fixed_points as fixed_points
from recurvature.dynamics.flow_field import FlowField as FlowField
from recurvature.dynamics.flow_field import FlowLine as FlowLine
from recurvature.dynamics.flow_field import Plane as Plane
from recurvature.dynamics.flow_field import flow_field as flow_field
from recurvature.dynamics.flow_field import flow_line as flow_line
from recurvature.dynamics.flow_field import plane_coordinates as plane_coordinates
from recurvature.dynamics.flow_field import principal_plane as principal_plane
from recurvature.dynamics.linearise import ATTRACTORS as ATTRACTORS
from recurvature.dynamics.linearise import AttractorTest as AttractorTest
from recurvature.dynamics.linearise import Linearisation as Linearisation
from recurvature.dynamics.linearise import attractor_test as attractor_test
from recurvature.dynamics.linearise import linearise as linearise
from recurvature.dynamics.lyapunov import LyapunovSpectrum as LyapunovSpectrum
from recurvature.dynamics.lyapunov import lyapunov_spectrum as lyapunov_spectrum
from recurvature.dynamics.special import CRITICALITY as CRITICALITY
from recurvature.dynamics.special import SPECIAL as SPECIAL
from recurvature.dynamics.stability import TYPES as TYPES
from recurvature.dynamics.tracing import ENDS as ENDS
