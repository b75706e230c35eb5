"""What a system settles into: fixed and slow points, their stability, flow fields, Lyapunov exponents."""

from recurvature.dynamics.certificate import CERTIFICATES as CERTIFICATES
from recurvature.dynamics.fixed_points import STATUS as STATUS
from recurvature.dynamics.fixed_points import FixedPoints as FixedPoints
from recurvature.dynamics.fixed_points import fixed_points as fixed_points
from recurvature.dynamics.stability import TYPES as TYPES
