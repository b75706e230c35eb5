"""What became of a curve or of a pair of points: reason codes shared by all geodesic results."""

OK, BOUNDARY, CONJUGATE, NOT_CONVERGED, SINGULAR, UNREACHABLE, NON_FINITE = range(7)
GEODESIC_STATUS = ("ok", "boundary", "conjugate", "not_converged", "singular", "unreachable", "non_finite")
"""What the numbers in the `status` of a geodesic result mean.

- `boundary`: the curve leaves the range of a coordinate that is not periodic; within it, the shortest follows an edge.
- `conjugate`: a geodesic, but past a conjugate point: shorter curves are near it.
- `not_converged`: the solver gave up, or what is constant along a geodesic, or equal at two resolutions, is not.
- `singular`: the metric is singular somewhere on the curve; its equation has no solution there.
- `unreachable`: no path of the graph joins the two points.
- `non_finite`: a state on the way is not finite.
"""
