"""What became of a curve or of a pair of points: reason codes shared by all geodesic results."""

OK, BOUNDARY, NOT_CONVERGED, SINGULAR, UNREACHABLE, NON_FINITE = range(6)
GEODESIC_STATUS = ("ok", "boundary", "not_converged", "singular", "unreachable", "non_finite")
"""What the numbers in the `status` of a geodesic result mean.

- `boundary`: the curve leaves the range of a coordinate that is not periodic; within it, the shortest follows an edge.
- `not_converged`: the solver gave up, or two resolutions disagree by more than the tolerance.
- `singular`: the metric is singular somewhere on the curve; its equation has no solution there.
- `unreachable`: no path of the graph joins the two points.
- `non_finite`: a state on the way is not finite.
"""
